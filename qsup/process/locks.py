"""Locks that live as long as an open file: inherited with it, asked for without disturbing. Standard library only.

Strategy: open file description locks. A forked process that inherits the descriptor holds the lock too, and the lock ends
with the last of them, however it ends; F_OFD_GETLK asks without ever taking it, so that asking never fails a launch.
Source: `man 2 fcntl_locking`, section "Open file description locks".
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# struct flock: l_type, l_whence, l_start, l_len, l_pid
_FLOCK = struct.Struct("@hhqqi4x")


def take_lock(path: str, mode: int = 0o600) -> int | None:
    """Lock the file, which is made where it does not exist.

    Returns:
        The descriptor (close-on-exec) that holds the lock; None where somebody else holds it.

    Raises:
        OSError: the file cannot be opened for writing.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    return fd


def is_locked(path: str) -> bool:
    """Somebody holds the lock.

    Raises:
        FileNotFoundError: there is no such file. OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(fd)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
