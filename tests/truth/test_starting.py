"""Whether anything moves before the greeting: pages, processor time, or neither."""

from __future__ import annotations

from attrs import evolve

from qsup.bytesize import GIB, MIB
from qsup.plan.vmplan import VmPlan
from qsup.truth.process_stats import ProcessStats
from qsup.truth.starting import progress_of
from tests.argv.plans import vm_plan

IDLE = ProcessStats(user_s=0.5, system_s=0.25, resident_bytes=40 * MIB, hugepages_bytes=0)


def plan_of(*, prealloc: bool, hugepages: bool) -> VmPlan:
    plan = vm_plan()
    first = plan.guest_nodes[0]
    return evolve(plan, guest_nodes=(evolve(first, size_bytes=GIB, prealloc=prealloc, hugepages=hugepages),))


def test_pages_that_come_are_movement_and_so_is_processor_time_alone() -> None:
    plan = plan_of(prealloc=True, hugepages=True)
    first = progress_of(None, plan, IDLE, 10.0)
    assert (first.planned_bytes, first.taken_bytes, first.cpu_s, first.moved_at_s, first.pages_moved) == (
        GIB,
        0,
        0.75,
        10.0,
        False,
    )
    more = progress_of(first, plan, evolve(IDLE, hugepages_bytes=256 * MIB), 11.0)
    assert (more.taken_bytes, more.moved_at_s, more.pages_moved) == (256 * MIB, 11.0, True)
    busy = progress_of(more, plan, evolve(IDLE, hugepages_bytes=256 * MIB, system_s=0.26), 12.0)
    assert (busy.taken_bytes, busy.moved_at_s, busy.pages_moved) == (256 * MIB, 12.0, False)
    still = progress_of(busy, plan, evolve(IDLE, hugepages_bytes=256 * MIB, system_s=0.26), 99.0)
    assert (still.moved_at_s, still.pages_moved) == (12.0, False)


def test_on_base_pages_resident_memory_counts_and_never_more_than_is_planned() -> None:
    plan = plan_of(prealloc=True, hugepages=False)
    assert progress_of(None, plan, IDLE, 1.0).taken_bytes == 40 * MIB
    assert progress_of(None, plan, evolve(IDLE, resident_bytes=2 * GIB), 1.0).taken_bytes == GIB


def test_without_preallocation_only_processor_time_can_move() -> None:
    plan = plan_of(prealloc=False, hugepages=True)
    first = progress_of(None, plan, IDLE, 1.0)
    assert (first.planned_bytes, first.taken_bytes) == (0, 0)
    later = progress_of(first, plan, evolve(IDLE, hugepages_bytes=64 * MIB), 2.0)
    assert (later.taken_bytes, later.moved_at_s) == (0, 1.0)


def test_base_pages_beside_hugepages_count_where_they_are_touched_too() -> None:
    plan = plan_of(prealloc=True, hugepages=True)
    first = plan.guest_nodes[0]
    seen = evolve(IDLE, hugepages_bytes=256 * MIB)
    lazy = evolve(first, guest_node=1, hugepages=False, prealloc=False)
    beside = evolve(plan, guest_nodes=(first, lazy))
    huge_alone = progress_of(None, beside, seen, 1.0)
    assert (huge_alone.planned_bytes, huge_alone.taken_bytes) == (GIB, 256 * MIB)
    both = progress_of(None, evolve(plan, guest_nodes=(first, evolve(lazy, prealloc=True))), seen, 1.0)
    assert (both.planned_bytes, both.taken_bytes) == (2 * GIB, (256 + 40) * MIB)
