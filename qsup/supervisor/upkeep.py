"""What a look at a VM is: its threads, and the size of its logs."""

from __future__ import annotations

from contextlib import suppress

from qsup.errors import KernelRefused
from qsup.process.log_dir import trim_logs
from qsup.supervisor.contain import contain, note_trouble
from qsup.supervisor.services import Services
from qsup.supervisor.tending import tend_threads
from qsup.supervisor.vm_state import VmState


async def look_after(services: Services, vm: VmState) -> None:
    """Take the look that is wanted; none where another one that was under way has been it. What goes wrong is an event.

    Touches: /proc/PID/task, sched_getaffinity, sched_setaffinity, the VM's log directory.
    """
    async with vm.looking:
        if not vm.look_wanted:
            return
        vm.look_wanted = False
        error = await contain("looking after it", _look(services, vm))
        # Its process may end while it is looked at, and its log be full: the next look is soon.
        if error is not None and not isinstance(error, KernelRefused):
            note_trouble(services.events, vm, error)


async def _look(services: Services, vm: VmState) -> None:
    """Keep the threads in their places and the logs short."""
    if vm.run.process is None or vm.run.gone:
        return
    plan = vm.run.plan
    with suppress(OSError):  # the process may end while it is looked at: its pidfd rings
        await tend_threads(services, vm)
        if plan is not None:
            trim_logs(plan.paths.log_dir, plan.log_bytes)
