"""What asynchronous I/O leaves behind in a process: libaio's mappings, io_uring's descriptors."""

from __future__ import annotations

import os

from qsup.truth.disk_aio import AioFacts

_NATIVE = "/[aio]"
_URING = "anon_inode:[io_uring]"


def read_aio(pid: int) -> AioFacts:
    """The contexts of a process; None where they cannot be read.

    Touches:
        /proc/PID/maps, /proc/PID/fd.
    """
    return AioFacts(_native_contexts(pid), _uring_contexts(pid))


def _native_contexts(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as lines:
            return sum(_NATIVE in line for line in lines)
    except OSError:
        return None


def _uring_contexts(pid: int) -> int | None:
    directory = f"/proc/{pid}/fd"
    count = 0
    try:
        for name in os.listdir(directory):
            try:
                count += os.readlink(f"{directory}/{name}") == _URING
            except FileNotFoundError:
                continue  # closed meanwhile
    except OSError:
        return None
    return count
