"""QemuProcess: one process, owned by its pidfd. Closing the handle never ends the process."""

from __future__ import annotations

import fcntl
import os
import signal
import struct

import trio
from attrs import frozen

from qsup.process.identity import ProcessIdentity, open_verified_pidfd
from qsup.process.procfs import has_ended, zombie_wait_status

# struct pidfd_info as of its first version, and the ioctl that carries its size; include/uapi/linux/pidfd.h.
_PIDFD_INFO = struct.Struct("@QQ11Ii")
_PIDFD_GET_INFO = 0xC000FF0B | _PIDFD_INFO.size << 16
_PIDFD_INFO_EXIT = 1 << 3
_LINKS_OF_A_DIRECTORY = 2

UNKNOWN_TEXT = "ended; how is not known: this daemon did not start it, and kernels before 6.15 do not tell others"


@frozen
class Ending:
    """How a process ended. `known` False: nobody told; then status and signal are None. `text` completes "it …"."""

    exit_status: int | None
    signal: int | None
    known: bool
    text: str


class QemuProcess:
    """A running or ended process, child or not."""

    def __init__(self, identity: ProcessIdentity, pidfd: int) -> None:
        """Take over a pidfd of that process."""
        self.identity = identity
        self._pidfd = pidfd
        self._task_dir_fd = -1
        self._ending: Ending | None = None

    @classmethod
    def open(cls, identity: ProcessIdentity) -> QemuProcess | None:
        """The process with this identity; None when it is gone."""
        pidfd = open_verified_pidfd(identity)
        return None if pidfd is None else cls(identity, pidfd)

    @property
    def pid(self) -> int:
        """Its process id, which names this process as long as `is_alive()`."""
        return self.identity.pid

    def fileno(self) -> int:
        """The pidfd, which this handle owns."""
        return self._pidfd

    def is_alive(self) -> bool:
        """At least one of its threads runs. A zombie does not live; of a handle that is closed nobody knows any more: False."""
        return self._pidfd >= 0 and not has_ended(self._pidfd)

    def thread_count(self) -> int:
        """How many threads it has; 0 where that cannot be told, as of a process that is gone or a handle that is closed.

        Touches: the links of /proc/PID/task (one for each thread: fs/proc/base.c, proc_task_getattr), by a descriptor that is
            kept: for those who ask every second.
        """
        if self._pidfd < 0:
            return 0
        try:
            if self._task_dir_fd < 0:
                self._task_dir_fd = os.open(f"/proc/{self.pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return max(os.fstat(self._task_dir_fd).st_nlink - _LINKS_OF_A_DIRECTORY, 0)
        except OSError:
            return 0

    async def wait_gone(self) -> None:
        """Return when all its threads have ended, at once where the handle is closed. Any number of tasks may wait."""
        if self._pidfd < 0:
            await trio.lowlevel.checkpoint()
            return
        # Only one task may wait for a descriptor in trio, so that each one gets its own.
        pidfd = os.dup(self._pidfd)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    def send_signal(self, number: int) -> bool:
        """Send a signal; False when the process is gone, or the handle closed."""
        if self._pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def ending(self) -> Ending:
        """How it ended, as far as anybody tells; a zombie child is reaped.

        Touches: waitid for a child; else ioctl PIDFD_GET_INFO (Linux ≥ 6.15) or, before it is reaped, /proc/PID/stat.
        """
        if self._ending is None:
            ending = self._read_ending()
            if not ending.known and self.is_alive():
                return ending
            self._ending = ending
        return self._ending

    def _read_ending(self) -> Ending:
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return self._ending_of_stranger()
        if result is None:
            return Ending(None, None, False, "is still running")
        if result.si_code == os.CLD_EXITED:
            return _ending_of(result.si_status)
        return _ending_of(-result.si_status)

    def _ending_of_stranger(self) -> Ending:
        if self.is_alive():
            return Ending(None, None, False, "is still running")
        # It may be reaped between the two: then the first question has an answer after all.
        for question in (self._told_by_pidfd, self._told_by_zombie, self._told_by_pidfd):
            status = question()
            if status is not None:
                return _ending_of(os.waitstatus_to_exitcode(status))
        return Ending(None, None, False, UNKNOWN_TEXT)

    def _told_by_pidfd(self) -> int | None:
        request = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self._pidfd, _PIDFD_GET_INFO, request)
        except OSError:
            return None
        mask, *_, wait_status = _PIDFD_INFO.unpack(request)
        return int(wait_status) if mask & _PIDFD_INFO_EXIT else None

    def _told_by_zombie(self) -> int | None:
        return zombie_wait_status(self.pid)

    def close(self) -> None:
        """Give the pidfd back; an ended child is reaped. The process itself is not touched."""
        if self._pidfd < 0:
            return
        self.ending()
        os.close(self._pidfd)
        self._pidfd = -1
        if self._task_dir_fd >= 0:
            os.close(self._task_dir_fd)
            self._task_dir_fd = -1


def _ending_of(exitcode: int) -> Ending:
    """`exitcode`: the exit status, or minus the number of the signal."""
    if exitcode >= 0:
        return Ending(exitcode, None, True, f"exited with status {exitcode}")
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = "a real-time signal"
    return Ending(None, -exitcode, True, f"was killed by signal {-exitcode} ({name})")
