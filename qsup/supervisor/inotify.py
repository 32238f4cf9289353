"""A directory watch: the kernel's inotify through ctypes, waited for on trio.

Source: man 7 inotify. A queue overflow needs no treatment of its own: whoever is woken looks at the whole directory.
"""

from __future__ import annotations

import ctypes
import os

import trio

from qsup.errors import KernelRefused

_IN_CLOSE_WRITE = 0x008
_IN_MOVED_FROM = 0x040
_IN_MOVED_TO = 0x080
_IN_DELETE = 0x200
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_IN_ATTRIB = 0x004
_MASK = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_DELETE | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ATTRIB

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """One inotify descriptor on one directory."""

    def __init__(self, path: str) -> None:
        """Start to watch.

        Raises:
            KernelRefused: `supervisor.watch-failed`; no watch could be had.
        """
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(path), _MASK) < 0:
            errno = ctypes.get_errno()
            self.close()
            raise KernelRefused(
                "supervisor.watch-failed", path, errno, f"the directory {path} cannot be watched: {os.strerror(errno)}"
            )

    async def wait_changed(self) -> None:
        """Return when something in the directory changed; several changes may come as one."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            if self._drain():
                return

    def _drain(self) -> bool:
        seen = False
        while True:
            try:
                seen = bool(os.read(self._fd, 65536)) or seen
            except BlockingIOError:
                return seen

    def close(self) -> None:
        """Give the descriptor back; may be called again."""
        if self._fd >= 0:
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = -1
