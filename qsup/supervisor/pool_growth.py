"""Hugepage pools grown for one VM: noted before, and given back by exactly what came."""

from __future__ import annotations

import trio
from attrs import evolve

from qsup.host.hugepages import grow_pool, shrink_pool
from qsup.host.pools import read_pool
from qsup.plan.vmplan import PathsPlan, PoolGrowth, VmPlan
from qsup.process.state_dir import GrowthNote, read_growth_notes, write_growth_notes
from qsup.supervisor.events import EventLog

# One pool change at a time on the whole host: the counters are read, changed and read back.
_pool_lock = trio.Lock()

# Pages per (host node, page size) that were added for VMs that are gone and that others have taken: given back when they can.
_owed: dict[tuple[int, int], int] = {}


async def grow_pools(events: EventLog, plan: VmPlan) -> None:
    """Grow each pool that the plan needs larger.

    Raises:
        KernelRefused: `host.pool-short`; the node has too little unfragmented memory. What was grown is still noted, and
            `give_back` takes it away.
    """
    for growth in plan.pool_growth:
        async with _pool_lock:
            await trio.to_thread.run_sync(_grow, plan.paths, growth.host_node, growth.page_size_bytes, growth.count)
        events.publish(
            "host.pool-grown",
            f"{growth.count} pages of {growth.page_size_bytes >> 20} MiB were added on host node {growth.host_node}",
            plan.name,
        )


def _grow(paths: PathsPlan, host_node: int, page_size_bytes: int, count: int) -> None:
    before = _total(host_node, page_size_bytes)
    notes = read_growth_notes(paths)
    note = GrowthNote(host_node, page_size_bytes, before, count)
    write_growth_notes(paths, (*notes, note))
    grow_pool(host_node, page_size_bytes, count)
    write_growth_notes(paths, (*notes, evolve(note, done=True)))


def settle_growth(paths: PathsPlan) -> None:
    """After a daemon's death: find out of a growth that was noted and not confirmed how many pages came.

    Order: before this daemon changes any pool; then the pool still has what it had when the other one died, and since
    growths never overlap, all that is above the noted count came from this one.
    """
    notes = read_growth_notes(paths)
    settled = tuple(note if note.done else _settled(note) for note in notes)
    if settled != notes:
        write_growth_notes(paths, settled)


def _settled(note: GrowthNote) -> GrowthNote:
    came = _total(note.host_node, note.page_size_bytes) - note.before
    return evolve(note, count=max(0, min(note.count, came)), done=True)


async def give_back(paths: PathsPlan) -> tuple[PoolGrowth, ...]:
    """Take away what was added for the VM, and the notes of it.

    Returns:
        tuple of what could not be taken away since others use it: it is tried again with the next VM that gives back.
    """
    async with _pool_lock:
        return await trio.to_thread.run_sync(_give_back, paths)


def _give_back(paths: PathsPlan) -> tuple[PoolGrowth, ...]:
    kept = []
    for note in reversed(read_growth_notes(paths)):
        # An unconfirmed growth failed in this daemon's own hands, and growing is all or nothing.
        if note.done:
            key = (note.host_node, note.page_size_bytes)
            owed = note.count + _owed.pop(key, 0)
            left = owed - shrink_pool(*key, owed)
            if left:
                _owed[key] = left
                kept.append(PoolGrowth(*key, left))
    write_growth_notes(paths, ())
    return tuple(kept)


def _total(host_node: int, page_size_bytes: int) -> int:
    pool = read_pool(host_node, page_size_bytes)
    return pool.total if pool is not None else 0
