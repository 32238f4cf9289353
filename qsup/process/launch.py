"""Launch: one call from a command line to a stub that holds the VM's run lock."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Sequence

from qsup.errors import KernelRefused
from qsup.process.fds import open_log
from qsup.process.locks import take_lock
from qsup.process.refusals import refusing
from qsup.process.run_dir import run_lock_of
from qsup.process.stub import Confinement, Stub, start_stub

__all__ = ["Confinement", "Stub", "spawn_stub"]


async def spawn_stub(
    words: Sequence[str],
    *,
    pass_fds: Collection[int],
    vm_dir: str,
    stderr_log: str,
    uid: int | None = None,
    groups: Sequence[int] = (),
) -> Stub:
    """Start the process that will be QEMU; it waits for `release()`.

    The stub inherits the locked run lock of the VM's run directory and keeps it through exec: the lock says that a QEMU of this
    VM lives, also while no daemon does.

    Args:
        words: QEMU's argument vector, the numbers of `pass_fds` in it. The caller closes its copies afterwards.
        stderr_log: gets what stub and QEMU write to stdout and stderr.
        uid: with one (which needs root), QEMU runs as this user and group with `groups`, without capabilities, in empty
            network and IPC namespaces; without one, as the daemon's own user.

    Raises:
        KernelRefused: process.vm-running (somebody holds the run lock), process.lock-refused, process.log-refused,
            process.tool-missing, process.spawn-refused.

    Touches: the run lock, the log, fork and exec.
    """
    confinement = None if uid is None else Confinement(uid, tuple(groups))
    lock_fd = _take_run_lock(vm_dir)
    try:
        stderr_fd = open_log(stderr_log)
        try:
            return await start_stub(
                words, pass_fds=(*pass_fds, lock_fd), stderr_fd=stderr_fd, stderr_log=stderr_log, confinement=confinement
            )
        finally:
            os.close(stderr_fd)
    finally:
        os.close(lock_fd)


def _take_run_lock(vm_dir: str) -> int:
    path = run_lock_of(vm_dir)
    with refusing("process.lock-refused", path, "lock"):
        lock_fd = take_lock(path)
    if lock_fd is None:
        message = f"a QEMU of this VM is running already: it holds {path}"
        hint = "find it with `qsup status`, or with `fuser` on that file"
        raise KernelRefused("process.vm-running", path, errno.EBUSY, message, hint)
    return lock_fd
