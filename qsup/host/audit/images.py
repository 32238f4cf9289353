"""Images as they lie: their header and length, the file system, the queue of the device below.

Images are read below `root` too, so that a recording may hold some. Source: man 5 proc (mountinfo), man 2 ioctl_iflags.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct

from attrs import frozen

from qsup.host.audit.settings import told
from qsup.host.block_devices import block_size_bytes, node_of_device, queue_of_device
from qsup.host.qcow2 import Qcow2Header, parse_qcow2_header
from qsup.host.sysfs import read_text, rooted
from qsup.truth.audit.facts import ImageTuning

_MOUNT = re.compile(r"^\S+ \S+ (\d+):(\d+) \S+ (\S+) .*? - (\S+) ", re.ASCII | re.MULTILINE)
_ESCAPE = re.compile(r"\\([0-7]{3})")
_LONGEST_CHAIN = 64
_GET_FLAGS = 0x80086601
_NO_COW = 0x00800000


@frozen
class Mount:
    """Where a file system is mounted, its type and its device."""

    point: str
    filesystem: str
    device: int


def read_mounts(root: str) -> tuple[Mount, ...]:
    """All mounts, those that were mounted later behind. Touches: /proc/self/mountinfo."""
    rows = _MOUNT.findall(read_text(root, "/proc/self/mountinfo") or "")
    return tuple(Mount(_unescaped(point), kind, os.makedev(int(major), int(minor))) for major, minor, point, kind in rows)


def read_image(root: str, path: str, image_format: str, mounts: tuple[Mount, ...]) -> ImageTuning:
    """One image; what cannot be looked at is None. Touches: the image's first bytes, stat, /sys/dev/block."""
    try:
        fd = os.open(rooted(root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        mount = _mount_of(path, mounts)
        return ImageTuning(path, filesystem=mount.filesystem if mount else None)
    try:
        return _image(root, path, image_format, fd, mounts)
    except OSError:
        return ImageTuning(path)
    finally:
        os.close(fd)


def _image(root: str, path: str, image_format: str, fd: int, mounts: tuple[Mount, ...]) -> ImageTuning:
    status = os.fstat(fd)
    is_device = stat.S_ISBLK(status.st_mode)
    length = block_size_bytes(fd) if is_device else status.st_size
    header = _header(fd) if image_format == "qcow2" else None
    mount = None if is_device else _mount_of(os.path.realpath(path) if root == "/" else path, mounts)
    device = status.st_rdev if is_device else mount.device if mount else None
    queue = None if device is None else queue_of_device(device, root)
    filesystem = "a block device" if is_device else mount.filesystem if mount else None
    return ImageTuning(
        path,
        length_bytes=length,
        virtual_bytes=header.virtual_size_bytes if header else None if image_format == "qcow2" else length,
        cluster_bytes=header.cluster_bytes if header else None,
        filesystem=filesystem,
        no_cow=_no_cow(fd) if filesystem == "btrfs" else None,
        scheduler=told(root, f"{queue}/scheduler") if queue else None,
        rotational=told(root, f"{queue}/rotational") if queue else None,
        below=_below(root, path, header) if header else (),
        host_node=None if device is None else node_of_device(device, root),
    )


def _header(fd: int) -> Qcow2Header | None:
    try:
        return parse_qcow2_header(lambda offset, size: os.pread(fd, size, offset))
    except (OSError, ValueError):
        return None


def _below(root: str, path: str, header: Qcow2Header) -> tuple[str, ...]:
    """The images below, nearest first, as far as they can be read; a loop ends the walk."""
    found: list[str] = []
    while header.backing_name is not None and len(found) < _LONGEST_CHAIN:
        path = os.path.normpath(os.path.join(os.path.dirname(path), header.backing_name))
        if path in found:
            break
        found.append(path)
        if header.backing_format != "qcow2" or (below := _header_at(rooted(root, path))) is None:
            break
        header = below
    return tuple(found)


def _header_at(path: str) -> Qcow2Header | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        return _header(fd)
    finally:
        os.close(fd)


def _mount_of(path: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that a path lies on: the longest point above it, of several there the last."""
    found = None
    for mount in mounts:
        above = mount.point.rstrip("/")
        if (path == above or path.startswith(above + "/")) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def _no_cow(fd: int) -> bool | None:
    try:
        flags: int = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(8)))[0]
    except OSError:
        return None
    return bool(flags & _NO_COW)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
