"""Pages are counted rarely and spread out: one VM at a time, each at most once an hour, in a worker thread.

A process that hangs in the kernel with its mappings locked is not waited for beyond a deadline, and holds up no other VM.
"""

from __future__ import annotations

import time
from functools import partial

import trio

from qsup.bytesize import GIB, format_byte_size
from qsup.errors import KernelRefused
from qsup.host.mappings import read_mappings
from qsup.plan.vmplan import VmPlan
from qsup.supervisor.contain import contain, note_trouble
from qsup.supervisor.process_reads import ProcessReads
from qsup.supervisor.seconds import next_second
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.memory import MemoryCount, locality_of, memory_rows

COUNT_INTERVAL_S = 3600.0
GAP_S = 2.0
"""Between two VMs, so that a fleet that was started together is not counted together."""

DEADLINE_S = 2.0
DEADLINE_A_GIB_S = 0.05
"""Ten times what counting base pages takes."""

_one_at_a_time = ProcessReads(at_once=1)


async def watch_pages(services: Services) -> None:
    """Count the pages of each running VM once an hour, for ever, and say where they are not as planned."""
    while True:
        vm = _most_due(services, trio.current_time())
        if vm is not None:
            error = await contain("counting its pages", check_pages(services, vm))
            if error is not None:
                note_trouble(services.events, vm, error)
        await next_second(GAP_S)


def _most_due(services: Services, now_s: float) -> VmState | None:
    """The VM that was not counted for the longest time, where that is long enough."""
    running = [vm for vm in services.fleet.values() if vm.run.started and vm.run.process is not None and not vm.run.gone]
    oldest = min(running, key=lambda vm: vm.run.truth.counted_s or float("-inf"), default=None)
    if oldest is None:
        return None
    counted_s = oldest.run.truth.counted_s
    return oldest if counted_s is None or now_s - counted_s >= COUNT_INTERVAL_S else None


async def check_pages(services: Services, vm: VmState) -> None:
    """Count the pages of one VM and publish what has left its node since the last count.

    Touches: /proc/PID/maps, /proc/PID/numa_maps, else /proc/PID/smaps.
    """
    run = vm.run
    await count_pages(run)
    if run.plan is None or run.gone or run.truth.count is None or run.truth.count.problem is not None:
        return  # nothing new is known of its pages
    misplaced = {row.backend: row for row in memory_rows(run.plan, run.truth.count) if row.verdict == "drift"}
    for backend in sorted(misplaced.keys() - run.truth.misplaced_told):
        row = misplaced[backend]
        message = f"the memory {backend} ({format_byte_size(row.size_bytes)}) is not where planned: {row.note}"
        fields = {"backend": backend, "misplaced_bytes": str(row.misplaced_bytes), "local_percent": str(row.local_percent)}
        services.events.publish("vm.memory-misplaced", message, vm.name, fields)
    run.truth.misplaced_told = frozenset(misplaced)


async def count_pages(run: RunSide, *, transparent: bool = False) -> None:
    """Count the pages of one VM and keep the count; what cannot be read is kept as such.

    Args:
        transparent: ask also how much is in transparent huge pages: a second walk, for somebody who looks.

    Touches: /proc/PID/maps, /proc/PID/numa_maps, /proc/PID/smaps, in a worker thread.
    """
    assert run.plan is not None
    assert run.process is not None
    sizes = {node.size_bytes for node in run.plan.guest_nodes}
    read = partial(read_mappings, run.process.pid, sizes, transparent=transparent)
    run.truth.counted_s = trio.current_time()
    try:
        found = await _one_at_a_time.read(run.process.pid, "the pages", read, _deadline_of(run.plan))
        run.truth.count = MemoryCount(time.time(), found)
        run.truth.misplaced_bytes, run.truth.local_ratio = locality_of(memory_rows(run.plan, run.truth.count))
    except KernelRefused as refused:
        run.truth.count = MemoryCount(time.time(), problem=refused.message)


def _deadline_of(plan: VmPlan) -> float:
    return DEADLINE_S + DEADLINE_A_GIB_S * plan.memory_bytes / GIB
