"""Who a process is: a pid alone may name another process tomorrow.

Strategy: open a pidfd first, then compare start time and boot id. From then on the descriptor *is* the process.
"""

from __future__ import annotations

import errno
import os

from attrs import frozen

from qsup.process.procfs import boot_id, start_ticks_of


@frozen
class ProcessIdentity:
    """A process of one boot of this host. `start_ticks`: clock ticks from boot to its start; exec does not change it."""

    pid: int
    start_ticks: int
    boot_id: str


def read_identity(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this pid now; None where there is none.

    Touches: /proc/PID/stat, /proc/sys/kernel/random/boot_id.
    """
    start_ticks = start_ticks_of(pid)
    return None if start_ticks is None else ProcessIdentity(pid, start_ticks, boot_id())


def open_verified_pidfd(identity: ProcessIdentity) -> int | None:
    """A pidfd of exactly this process, which the caller owns; None when it is gone, or the pid is another's now.

    A zombie is still that process.

    Raises:
        OSError: no descriptors left.
    """
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise
    if read_identity(identity.pid) == identity:
        return pidfd
    os.close(pidfd)
    return None
