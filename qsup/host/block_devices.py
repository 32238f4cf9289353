"""Block devices: their size, and the host node that the hardware below them hangs on."""

from __future__ import annotations

import fcntl
import os
import struct

from qsup.host.sysfs import list_dir, read_number, rooted

_BLKGETSIZE64 = 0x80081272
_BLKROGET = 0x125E
_DEPTH_LIMIT = 8


def block_size_bytes(fd: int) -> int:
    """The size of an open block device. Touches: ioctl BLKGETSIZE64."""
    return int(struct.unpack("Q", fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8)))[0])


def is_readonly_device(fd: int) -> bool:
    """Whether an open block device refuses writing. Touches: ioctl BLKROGET."""
    return bool(struct.unpack("i", fcntl.ioctl(fd, _BLKROGET, bytes(4)))[0])


def node_of_device(device: int, root: str = "/") -> int | None:
    """The host node of the hardware below a device number, or None where sysfs does not tell.

    Device mapper and md are followed down to their first member with a node. File systems without a device of their own
    (btrfs, overlay, NFS) have none.

    Touches:
        /sys/dev/block/MAJOR:MINOR, numa_node of its parents.
    """
    return _node_of(os.path.realpath(rooted(root, f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")), _DEPTH_LIMIT)


def _node_of(directory: str, depth: int) -> int | None:
    if depth == 0 or not os.path.isdir(directory):
        return None
    for member in list_dir("/", f"{directory}/slaves"):
        node = _node_of(os.path.realpath(f"{directory}/slaves/{member}"), depth - 1)
        if node is not None:
            return node
    return _node_above(directory)


def _node_above(directory: str) -> int | None:
    while directory.count("/") > 2:
        node = read_number("/", f"{directory}/numa_node")
        if node is not None and node >= 0:
            return node
        directory = os.path.dirname(directory)
    return None


def queue_of_device(device: int, root: str = "/") -> str | None:
    """The queue directory of the disk below a device number, without the root; None where sysfs tells of none.

    A partition has none of its own: its disk's counts. Of device mapper and md the first member's.

    Touches:
        /sys/dev/block/MAJOR:MINOR.
    """
    top = os.path.realpath(root).rstrip("/")
    found = _queue_of(os.path.realpath(rooted(root, f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")), _DEPTH_LIMIT)
    return None if found is None else found.removeprefix(top)


def _queue_of(directory: str, depth: int) -> str | None:
    if depth == 0 or not os.path.isdir(directory):
        return None
    for member in list_dir("/", f"{directory}/slaves"):
        return _queue_of(os.path.realpath(f"{directory}/slaves/{member}"), depth - 1)
    for place in (directory, os.path.dirname(directory)):
        if os.path.isdir(f"{place}/queue"):
            return f"{place}/queue"
    return None
