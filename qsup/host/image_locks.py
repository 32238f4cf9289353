"""Asks who holds an image, by the lock bytes that QEMU uses.

QEMU locks byte 100 + n of a file while it uses the permission n, and byte 200 + n while it does not share it; all locks are
shared ones, so that a test for an exclusive lock finds them. Source: QEMU block/file-posix.c (RAW_LOCK_PERM_BASE,
RAW_LOCK_SHARED_BASE, raw_check_lock_bytes), include/block/block-common.h (BLK_PERM_*).
"""

from __future__ import annotations

import fcntl
import os
import struct

from attrs import frozen

PERMISSION_BASE = 100
UNSHARED_BASE = 200
READ, WRITE, RESIZE = 0, 1, 3

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid


@frozen
class ImageLocks:
    """`blocks_reading`: somebody writes, or lets nobody read. `blocks_writing`: also where somebody lets nobody write."""

    blocks_reading: bool
    blocks_writing: bool


def read_image_locks(fd: int) -> ImageLocks:
    """The locks of all other open files on this image; none where the file system knows no locks.

    Touches:
        fcntl F_OFD_GETLK.
    """
    used = any(_is_locked(fd, PERMISSION_BASE + permission) for permission in (WRITE, RESIZE))
    blocks_reading = used or _is_locked(fd, UNSHARED_BASE + READ)
    blocks_writing = blocks_reading or any(_is_locked(fd, UNSHARED_BASE + permission) for permission in (WRITE, RESIZE))
    return ImageLocks(blocks_reading, blocks_writing)


def _is_locked(fd: int, offset: int) -> bool:
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, question)
    except OSError:
        return False
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
