"""Stop all guests of a run directory without the daemon: it is dead or hangs, and the host goes down.

The same eyes and hands as the daemon's, with nothing wanted on: every VM is adopted, asked, and in its time ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from argparse import Namespace

import trio

from qsup.daemon.configuration import policy_of
from qsup.daemon.journal import open_sink
from qsup.errors import KernelRefused, QsupError
from qsup.process.run_dir import holder_of, lock_run_dir
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.adoption import adopt_all
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.registry import Supervisor
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import PowerSide

EXIT_IN_USE = 75
_DIE_MS = 10_000


def main(args: Namespace) -> int:
    """Stop every guest that the run directory knows, each within its own grace period.

    Returns:
        0 when nothing runs any more; 75 where a daemon holds the run directory; 1 where a process of it was left alone or the
        directory cannot be used (said on stderr).
    """
    try:
        return trio.run(_stop_all, args)
    except QsupError as error:
        if isinstance(error, KernelRefused) and error.code == "process.run-dir-in-use":
            return EXIT_IN_USE
        sys.stderr.write(f"qsup: {error.message} [{error.code}]\n")
        return 1


def end_daemon(run_dir: str) -> int | None:
    """End the daemon that holds the run directory by SIGKILL, and wait until it is gone.

    Returns:
        Its pid; None where nobody holds the directory, or who it is cannot be told.
    """
    pid = holder_of(run_dir)
    if pid is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if holder_of(run_dir) != pid:  # it went meanwhile: the descriptor may be another process'
            return None
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(_DIE_MS)
    except ProcessLookupError:
        return None
    finally:
        os.close(pidfd)
    return pid


async def _stop_all(args: Namespace) -> int:
    settings = SettingsSpec()
    policy = policy_of(settings, args.run_dir, args.state_dir)
    services = Services(settings, policy, Reservations(policy), CapsCache(), EventLog((open_sink(),)), None, {})
    with lock_run_dir(policy.run_dir):
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(services, nursery)
            await adopt_all(services, supervisor, nursery, PowerSide("off", args.force))
            vms = list(services.fleet.values())
            for vm in vms:
                await vm.wait_for(lambda state: state.forgotten or state.phase in ("absent", "stray"))
            nursery.cancel_scope.cancel()
    return 1 if any(vm.phase == "stray" for vm in vms) else 0
