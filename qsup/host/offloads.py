"""What a NIC does by itself: checksums, segmentation, merging; asked by ioctl, since sysfs does not tell.

On a recorded tree `/ethtool/LINK` holds the same, a line each: "tso: on". Source: include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

from qsup.host.sysfs import read_text

_SIOCETHTOOL = 0x8946
_QUESTIONS = {"tx-checksum": 0x16, "scatter-gather": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
_GET_FLAGS = 0x25
_FLAG_LRO = 1 << 15


def read_offloads(link: str, root: str = "/") -> dict[str, bool] | None:
    """Feature → whether it is on; None where the link cannot be asked. What the driver does not know is left out.

    Touches: ioctl SIOCETHTOOL.
    """
    if root != "/":
        text = read_text(root, f"/ethtool/{link}")
        return None if text is None else _parsed(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        answers = {name: _ask(control, link, command) for name, command in _QUESTIONS.items()}
        flags = _ask(control, link, _GET_FLAGS)
    found = {name: bool(value) for name, value in answers.items() if value is not None}
    if flags is not None:
        found["lro"] = bool(flags & _FLAG_LRO)
    return found or None


def format_offloads(offloads: dict[str, bool]) -> str:
    """The lines of a recording."""
    return "".join(f"{name}: {'on' if on else 'off'}\n" for name, on in sorted(offloads.items()))


def _parsed(text: str) -> dict[str, bool]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() == "on" for name, colon, value in pairs if colon}


def _ask(control: socket.socket, link: str, command: int) -> int | None:
    value = array.array("I", [command, 0])
    request = struct.pack("16sP16x", link.encode()[:15], value.buffer_info()[0])
    try:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
    except OSError:
        return None
    return value[1]
