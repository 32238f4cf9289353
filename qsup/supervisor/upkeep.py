"""What is looked at with every tick of a VM: its threads, and the size of its logs."""

from __future__ import annotations

from contextlib import suppress

from qsup.process.log_dir import trim_logs
from qsup.supervisor.placing import look_at_threads
from qsup.supervisor.vm_state import VmState


async def look_after(vm: VmState) -> None:
    """Read the threads back and keep the logs short.

    Touches: /proc/PID/task, sched_getaffinity, the VM's log directory.
    """
    if vm.run.process is None or vm.run.gone:
        return
    with suppress(OSError):  # the process may end while it is looked at: its pidfd rings
        look_at_threads(vm)
        if vm.run.plan is not None:
            trim_logs(vm.run.plan.paths.log_dir, vm.run.plan.log_bytes)
