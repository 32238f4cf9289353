"""What a look at a VM is: its threads, and the size of its logs."""

from __future__ import annotations

from contextlib import suppress

from qsup.process.log_dir import trim_logs
from qsup.supervisor.services import Services
from qsup.supervisor.tending import tend_threads
from qsup.supervisor.vm_state import VmState


async def look_after(services: Services, vm: VmState) -> None:
    """Keep the threads in their places and the logs short.

    Touches: /proc/PID/task, sched_getaffinity, sched_setaffinity, the VM's log directory.
    """
    if vm.run.process is None or vm.run.gone:
        return
    plan = vm.run.plan
    with suppress(OSError):  # the process may end while it is looked at: its pidfd rings
        await tend_threads(services, vm)
        if plan is not None:
            trim_logs(plan.paths.log_dir, plan.log_bytes)
