"""mount(2), umount2(2) and fallocate(2), which Python does not have. Source: their man pages, section 2."""

from __future__ import annotations

import ctypes
import os

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MNT_DETACH = 0x2
_FALLOC_FL_KEEP_SIZE = 0x1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def mount_tmpfs(path: str, options: str, *, remount: bool = False) -> None:
    """Mount a tmpfs without setuid, devices or programs at the path; `remount` changes the options of one that is there.

    Raises:
        OSError: as the kernel says.
    """
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (MS_REMOUNT if remount else 0)
    _check(_libc.mount(b"qsup", os.fsencode(path), b"tmpfs", flags, options.encode()), path)


def unmount(path: str, flags: int = 0) -> None:
    """Unmount the path.

    Raises:
        OSError: as the kernel says.
    """
    _check(_libc.umount2(os.fsencode(path), flags), path)


def reserve(fd: int, size_bytes: int) -> None:
    """Allocate the room for a file's first bytes without making it longer.

    Raises:
        OSError: as the kernel says.
    """
    _check(_libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE, 0, size_bytes), None)


def _check(result: int, path: str | None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
