"""Where the pages are: which mapping is whose, and what is wrong with it."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.plan.vmplan import GuestNodePlan, VmPlan
from qsup.truth.memory import NO_NODES, NOT_COUNTED, MappingFacts, MemoryCount, MemoryRow, locality_of, memory_rows
from tests.truth.plans import a_plan

HUGE = GuestNodePlan(0, (0,), GIB, (0,), "bind", 2 * MIB, True, True, (10,))
BASE = GuestNodePlan(0, (0,), GIB, (0,), "bind", 4096, False, False, (10,))
GOOD = MappingFacts(0x7F0000000000, GIB, "bind", frozenset({0}), 2 * MIB, True, ((0, 512),))


def plan_of(*nodes: GuestNodePlan) -> VmPlan:
    return evolve(a_plan([{0}], {0}, {}, {0}), guest_nodes=nodes)


def row_of(node: GuestNodePlan, *mappings: MappingFacts) -> MemoryRow:
    (row,) = memory_rows(plan_of(node), MemoryCount(1.0, mappings))
    return row


def test_all_pages_on_their_node() -> None:
    row = row_of(HUGE, GOOD)
    assert (row.backend, row.verdict, row.note, row.local_percent, row.present_bytes) == ("mem0", "ok", "", 100.0, GIB)
    assert (row.policy_in_force, row.nodes_in_force, row.pages) == ("bind", (0,), ((0, 512),))


def test_pages_on_another_node_are_drift_with_their_share() -> None:
    row = row_of(HUGE, evolve(GOOD, pages=((0, 511), (1, 1))))
    assert (row.verdict, row.local_percent, row.misplaced_bytes) == ("drift", 99.8, 2 * MIB)
    assert row.note == "2MiB on node 1"


def test_a_hundred_percent_means_all() -> None:
    mapping = MappingFacts(1 << 40, GIB, "bind", frozenset({0}), 4096, False, ((0, 262_143), (1, 1)))
    row = row_of(BASE, mapping)
    assert row.local_percent == 99.9


def test_policy_and_page_size_in_force() -> None:
    row = row_of(HUGE, evolve(GOOD, policy="default", policy_nodes=frozenset(), page_size_bytes=4096, pages=((0, 9),)))
    assert row.verdict == "drift"
    assert row.note == "its policy is default; its pages have 4KiB"


def test_pages_that_were_never_touched_are_no_fault() -> None:
    row = row_of(BASE, MappingFacts(1 << 40, GIB, "bind", frozenset({0})))
    assert (row.verdict, row.local_percent, row.present_bytes) == ("ok", None, 0)


def test_memory_that_is_bound_to_no_node_is_nowhere_wrong() -> None:
    row = row_of(
        evolve(BASE, host_nodes=()), MappingFacts(1 << 40, GIB, "default", pages=((0, 1), (1, 2)), page_size_bytes=4096)
    )
    assert (row.verdict, row.policy, row.local_percent, row.misplaced_bytes) == ("ok", "default", None, 0)


UNTOLD = MappingFacts(1 << 40, GIB, page_size_bytes=4096, held_bytes=3 * MIB, transparent_huge_bytes=2 * MIB)
"""As smaps tells it."""


def test_without_nodes_memory_that_is_bound_is_unknown_with_its_size() -> None:
    row = row_of(BASE, UNTOLD)
    assert (row.verdict, row.note, row.policy_in_force, row.local_percent) == ("unknown", NO_NODES, None, None)
    assert (row.present_bytes, row.transparent_huge_bytes, row.misplaced_bytes, row.pages) == (3 * MIB, 2 * MIB, 0, ())
    assert locality_of([row]) == (0, None)


def test_without_nodes_the_page_size_is_checked_all_the_same() -> None:
    huge = evolve(UNTOLD, page_size_bytes=2 * MIB, hugetlb=True)
    assert row_of(HUGE, huge).verdict == "unknown"
    small = row_of(evolve(HUGE, page_size_bytes=GIB), huge)
    assert (small.verdict, small.note) == ("drift", "its pages have 2MiB")
    assert row_of(HUGE, UNTOLD).note == "no mapping of its size is there", "base pages are no hugepages"


def test_without_nodes_memory_that_is_bound_to_none_is_as_planned() -> None:
    unbound = evolve(BASE, host_nodes=())
    assert (row_of(unbound, UNTOLD).verdict, row_of(unbound, UNTOLD).present_bytes) == ("ok", 3 * MIB)
    assert row_of(unbound, MappingFacts(1 << 40, GIB)).verdict == "unknown", "nothing was counted"


@pytest.mark.parametrize("node", [BASE, HUGE])
def test_a_mapping_of_which_only_the_size_is_told_is_unknown(node: GuestNodePlan) -> None:
    row = row_of(node, MappingFacts(1 << 40, GIB))
    assert (row.verdict, row.note, row.policy_in_force) == ("unknown", NO_NODES, None)


def test_what_could_not_be_counted_is_unknown_and_says_why() -> None:
    (before,) = memory_rows(plan_of(HUGE), None)
    assert (before.verdict, before.note, before.pages) == ("unknown", NOT_COUNTED, ())
    (unreadable,) = memory_rows(plan_of(HUGE), MemoryCount(1.0, problem="Permission denied"))
    assert (unreadable.verdict, unreadable.note) == ("unknown", "Permission denied")
    assert row_of(HUGE, evolve(GOOD, size_bytes=GIB - 4096)).verdict == "unknown"
    assert row_of(HUGE, evolve(GOOD, hugetlb=False)).verdict == "unknown"


def test_two_nodes_of_one_size_take_the_mapping_with_their_policy() -> None:
    second = evolve(HUGE, guest_node=1, host_nodes=(1,))
    other = evolve(GOOD, start=GOOD.start + GIB, policy_nodes=frozenset({1}), pages=((0, 512),))
    rows = memory_rows(plan_of(HUGE, second), MemoryCount(1.0, (GOOD, other)))
    assert [(row.start, row.verdict) for row in rows] == [(GOOD.start, "ok"), (other.start, "drift")]


mappings = st.builds(
    MappingFacts,
    start=st.integers(0, 1 << 47),
    size_bytes=st.sampled_from([GIB, 2 * GIB]),
    policy=st.sampled_from([None, "default", "bind", "preferred"]),
    policy_nodes=st.frozensets(st.integers(0, 2), max_size=2),
    page_size_bytes=st.sampled_from([None, 4096, 2 * MIB]),
    hugetlb=st.booleans(),
    pages=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000)), max_size=3, unique_by=lambda item: item[0]).map(tuple),
)


@given(st.lists(mappings, max_size=5), st.lists(st.sampled_from([HUGE, BASE]), min_size=1, max_size=3))
def test_no_mapping_is_two_backends(found: list[MappingFacts], nodes: list[GuestNodePlan]) -> None:
    plan = plan_of(*(evolve(node, guest_node=index) for index, node in enumerate(nodes)))
    unique = list({mapping.start: mapping for mapping in found}.values())
    rows = memory_rows(plan, MemoryCount(1.0, tuple(unique)))
    assert [row.backend for row in rows] == [f"mem{index}" for index in range(len(nodes))]
    starts = [row.start for row in rows if row.start is not None]
    assert len(starts) == len(set(starts))
    for row in rows:
        assert row.verdict == "unknown" if row.start is None else row.verdict != "unknown" or row.policy_in_force is None
        assert row.misplaced_bytes <= row.present_bytes
        assert row.local_percent is None or 0 <= row.local_percent <= 100
        assert (row.local_percent == 100) == (row.misplaced_bytes == 0) or row.local_percent is None


def test_the_locality_of_all_bound_memory_together() -> None:
    away = row_of(HUGE, evolve(GOOD, pages=((0, 384), (1, 128))))
    free = row_of(evolve(HUGE, host_nodes=()), evolve(GOOD, policy="default", policy_nodes=frozenset(), pages=((1, 512),)))
    assert locality_of([away, row_of(HUGE, GOOD), free]) == (256 * MIB, 0.875)
    assert locality_of([free]) == (0, None)
    assert locality_of([row_of(HUGE)]) == (0, None)


def test_guest_nodes_of_one_size_are_told_apart_by_their_pages() -> None:
    small, large = HUGE, evolve(HUGE, guest_node=1, page_size_bytes=GIB)
    ready = evolve(GOOD, start=GOOD.start + 2 * GIB)
    giant = evolve(GOOD, page_size_bytes=GIB, pages=((0, 1),))
    for order in ((ready, giant), (giant, ready)):
        rows = memory_rows(plan_of(small, large), MemoryCount(1.0, order))
        assert [(row.page_size_bytes, row.page_size_in_force_bytes, row.verdict) for row in rows] == [
            (2 * MIB, 2 * MIB, "ok"),
            (GIB, GIB, "ok"),
        ]
    swapped = memory_rows(plan_of(small, large), MemoryCount(1.0, (evolve(ready, start=giant.start), ready)))
    assert [row.note for row in swapped] == ["", "its pages have 2MiB"]
