"""Mend memory: move the pages of a running VM that lie on other nodes than planned, slowly, and tell what would not move."""

from __future__ import annotations

import time

import trio

from qsup.bytesize import format_byte_size
from qsup.errors import BadRequest, KernelRefused
from qsup.host.move_pages import move_pages, page_nodes
from qsup.process.handle import QemuProcess
from qsup.supervisor.page_watch import count_pages
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import VmState
from qsup.truth.memory import MemoryRow, memory_rows
from qsup.truth.page_moves import BackendMended, MemoryMended, MoveTally, batches_of, mended_of, moves_of, tally_of

LEAST_PAUSE_S = 0.001


async def mend_memory(services: Services, vm: VmState) -> MemoryMended:
    """Move what is misplaced to the planned nodes; count again at the end. Cancelling stops between two batches.

    Between two batches it rests as long as the batch took: at most half a pCPU and half of what the memory can take.

    Raises:
        BadRequest: `supervisor.not-running`, `supervisor.mending`, `supervisor.not-counted`.
        KernelRefused: `host.pages-refused`.

    Touches: move_pages(2), /proc/PID/numa_maps.
    """
    run = vm.run
    if run.process is None or run.gone or run.plan is None or not run.started:
        raise BadRequest("supervisor.not-running", f"{vm.name} is not running: it has no memory", f"qsup start {vm.name}")
    if run.truth.mending:
        raise BadRequest("supervisor.mending", f"the memory of {vm.name} is being moved already", "wait for its event")
    run.truth.mending = True
    began_s = time.monotonic()
    try:
        await count_pages(run)
        _require_count(vm)
        rows = [row for row in memory_rows(run.plan, run.truth.count) if row.misplaced_bytes]
        backends = [await _mend(run.process, row) for row in rows]
        if rows and run.process.is_alive():
            await count_pages(run)
    finally:
        run.truth.mending = False
    mended = MemoryMended(vm.name, tuple(backends), time.monotonic() - began_s)
    _tell(services, mended)
    return mended


def _require_count(vm: VmState) -> None:
    """Where the pages are must be known: of a VM that could not be counted nobody may say that all is in its place."""
    count = vm.run.truth.count
    if count is not None and count.problem is not None:
        hint = f"qsup verify {vm.name}"
        raise BadRequest("supervisor.not-counted", f"the memory of {vm.name} cannot be moved: {count.problem}", hint)


async def _mend(process: QemuProcess, row: MemoryRow) -> BackendMended:
    """What could be moved: the process may end between two batches, or within one."""
    tally = MoveTally()
    for batch in batches_of(row):
        if not process.is_alive():
            break
        began_s = time.monotonic()
        try:
            tally = tally.plus(await trio.to_thread.run_sync(_move_batch, process.pid, batch, row))
        except KernelRefused:
            if process.is_alive():
                raise
            break
        await trio.sleep(max(time.monotonic() - began_s, LEAST_PAUSE_S))
    return mended_of(row, tally)


def _move_batch(pid: int, addresses: range, row: MemoryRow) -> MoveTally:
    moves = moves_of(addresses, page_nodes(pid, addresses), row.host_nodes, addresses.step)
    if not moves.addresses:
        return MoveTally()
    status = move_pages(pid, moves.addresses, moves.nodes)
    return tally_of(moves, status, page_nodes(pid, moves.addresses), row.host_nodes)


def _tell(services: Services, mended: MemoryMended) -> None:
    moved = sum(backend.moved_bytes for backend in mended.backends)
    stuck = [unmoved for backend in mended.backends for unmoved in backend.unmoved]
    if not mended.backends:
        return
    message = f"{format_byte_size(moved)} of its memory moved to the planned nodes in {mended.took_s:.1f} s"
    message += "".join(f"; {format_byte_size(unmoved.size_bytes)} did not: {unmoved.reason}" for unmoved in stuck)
    fields = {"moved_bytes": str(moved), "unmoved_bytes": str(sum(unmoved.size_bytes for unmoved in stuck))}
    services.events.publish("vm.memory-moved", message, mended.vm, fields)
