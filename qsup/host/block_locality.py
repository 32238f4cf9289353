"""Where the hardware under a path sits, told by the mounts: for machines that are recorded, and whose files are not here.

Strategy: on the machine itself an open image tells its device. A recording keeps only which file systems and block devices have
hardware on a known host node; a path is then as near as the deepest mount above it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from qsup.host.block_devices import node_of_device
from qsup.host.sysfs import list_dir, read_text

MOUNTS = "/proc/self/mountinfo"
BLOCK_DIR = "/sys/class/block"
_DEVICE = re.compile(r"([0-9]{1,7}):([0-9]{1,7})", re.ASCII)
_ESCAPE = re.compile(r"\\([0-7]{3})", re.ASCII)


def node_of_path(path: str, root: str = "/") -> int | None:
    """The host node of the hardware below a path, or None where it is not told. The path itself is not looked at.

    Touches:
        /proc/self/mountinfo, /sys/class/block/NAME/dev, /sys/dev/block/MAJOR:MINOR.
    """
    if path.startswith("/dev/"):
        device = _device_of(read_text(root, f"{BLOCK_DIR}/{path.removeprefix('/dev/')}/dev") or "")
        return None if device is None else node_of_device(device, root)
    mounts = [(point, device) for point, device in _mounts(root) if _is_below(path, point)]
    return node_of_device(max(mounts, key=lambda mount: len(mount[0]))[1], root) if mounts else None


def recorded_locality(root: str = "/") -> dict[str, str]:
    """What a recording keeps: path → content, for the mounts and block devices with hardware on a known node."""
    tree: dict[str, str] = {}
    lines: list[str] = []
    for point, device in _mounts(root):
        if (node := node_of_device(device, root)) is not None:
            lines.append(f"0 0 {_number(device)} / {_escaped(point)} - - - - -\n")
            tree[f"/sys/dev/block/{_number(device)}/numa_node"] = f"{node}\n"
    for name in list_dir(root, BLOCK_DIR):
        block = _device_of(read_text(root, f"{BLOCK_DIR}/{name}/dev") or "")
        if block is not None and (node := node_of_device(block, root)) is not None:
            tree[f"{BLOCK_DIR}/{name}/dev"] = f"{_number(block)}\n"
            tree[f"/sys/dev/block/{_number(block)}/numa_node"] = f"{node}\n"
    return tree | ({MOUNTS: "".join(lines)} if lines else {})


def _mounts(root: str) -> Iterator[tuple[str, int]]:
    """(mount point, device) of each mount. Source: man 5 proc_pid_mountinfo."""
    for line in (read_text(root, MOUNTS) or "").splitlines():
        fields = line.split(" ")
        device = _device_of(fields[2]) if len(fields) > 4 else None
        if device is not None:
            yield _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4]), device


def _device_of(text: str) -> int | None:
    match = _DEVICE.fullmatch(text.strip())
    return os.makedev(int(match[1]), int(match[2])) if match else None


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _escaped(point: str) -> str:
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in point)


def _is_below(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(point + "/")
