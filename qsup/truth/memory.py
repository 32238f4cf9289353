"""Where the pages are: each memory backend of the plan against the mapping that holds it, as the kernel counts it.

Strategy: the kernel does not know backends, only mappings. QEMU gives each backend a mapping of exactly its size, with
flags that its neighbours do not have, so that none is ever merged or split. Of several mappings of one size, a backend takes
the one whose page size and policy are its own, else the next. Source: man 5 numa_maps, QEMU 7.2 util/mmap-alloc.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import frozen

from qsup.bytesize import format_byte_size
from qsup.cpuset import format_cpulist
from qsup.plan.vmplan import GuestNodePlan, VmPlan

MemoryVerdict = Literal["ok", "drift", "unknown"]
NOT_COUNTED = "its pages are not counted yet"
NO_NODES = "on which nodes its pages are is unknown: numa_maps cannot be read (a kernel without NUMA has none)"


@frozen
class MappingFacts:
    """One mapping of a process.

    `policy` is the kernel's word ("default", "bind", "preferred", "interleave", …), None where it does not tell: then it does
    not tell nodes either, and `held_bytes` is what is there. `page_size_bytes` is None while no page is there. `pages` counts
    the pages by host node: pairs, ascending. `transparent_huge_bytes`: what is in transparent huge pages; None: nobody asked.
    """

    start: int
    size_bytes: int
    policy: str | None = None
    policy_nodes: frozenset[int] = frozenset()
    page_size_bytes: int | None = None
    hugetlb: bool = False
    pages: tuple[tuple[int, int], ...] = ()
    held_bytes: int | None = None
    transparent_huge_bytes: int | None = None


@frozen
class MemoryCount:
    """The large mappings of a VM's process at one moment (Unix time), or why they could not be read."""

    counted_at_s: float
    mappings: tuple[MappingFacts, ...] = ()
    problem: str | None = None


@frozen
class MemoryRow:
    """One memory backend, planned against seen.

    `start` is the address of its mapping, None where none was found. `pages` counts by host node. `local_percent` is the share
    of the pages that are there which lie on the planned nodes; None without a binding or without pages, and where the nodes are
    unknown. `transparent_huge_bytes`: see `MappingFacts`.
    """

    backend: str
    size_bytes: int
    host_nodes: tuple[int, ...]
    policy: str
    page_size_bytes: int
    start: int | None
    policy_in_force: str | None
    nodes_in_force: tuple[int, ...]
    page_size_in_force_bytes: int | None
    pages: tuple[tuple[int, int], ...]
    present_bytes: int
    misplaced_bytes: int
    local_percent: float | None
    verdict: MemoryVerdict
    note: str = ""
    transparent_huge_bytes: int | None = None


def locality_of(rows: Iterable[MemoryRow]) -> tuple[int, float | None]:
    """(bytes that are on other nodes than planned, share of the bound memory's pages that is on planned ones).

    The share is None where nothing is bound, or no page is there yet.
    """
    bound = [row for row in rows if row.local_percent is not None]
    misplaced, present = sum(row.misplaced_bytes for row in bound), sum(row.present_bytes for row in bound)
    return misplaced, 1 - misplaced / present if present else None


def memory_rows(plan: VmPlan, count: MemoryCount | None) -> tuple[MemoryRow, ...]:
    """One row for each guest node's backend, in their order."""
    if count is None or count.problem is not None:
        why = NOT_COUNTED if count is None or count.problem is None else count.problem
        return tuple(_row(node, None, why) for node in plan.guest_nodes)
    taken = _mappings_of(plan.guest_nodes, count.mappings)
    return tuple(_row(node, taken.get(node.guest_node), "no mapping of its size is there") for node in plan.guest_nodes)


def _mappings_of(nodes: Sequence[GuestNodePlan], mappings: Iterable[MappingFacts]) -> Mapping[int, MappingFacts]:
    free = sorted(mappings, key=lambda mapping: -mapping.start)  # the kernel hands out addresses downwards
    taken: dict[int, MappingFacts] = {}
    for close in (_pages_and_policy_are_planned, _policy_is_planned, _fits):
        for node in nodes:
            if node.guest_node in taken:
                continue
            fitting = [mapping for mapping in free if _fits(node, mapping) and close(node, mapping)]
            if fitting:
                taken[node.guest_node] = fitting[0]
                free.remove(fitting[0])
    return taken


def _fits(node: GuestNodePlan, mapping: MappingFacts) -> bool:
    """A mapping of which nothing but its size is told may be of either kind."""
    nothing_told = mapping.policy is None and mapping.page_size_bytes is None
    return mapping.size_bytes == node.size_bytes and (nothing_told or mapping.hugetlb == node.hugepages)


def _pages_and_policy_are_planned(node: GuestNodePlan, mapping: MappingFacts) -> bool:
    """Guest nodes of one size may lie on pages of different sizes: these are told apart once a page is there."""
    return mapping.page_size_bytes == node.page_size_bytes and _policy_is_planned(node, mapping)


def _policy_is_planned(node: GuestNodePlan, mapping: MappingFacts) -> bool:
    if mapping.policy is None:
        return True
    return mapping.policy == _planned_policy(node) and mapping.policy_nodes == frozenset(node.host_nodes)


def _planned_policy(node: GuestNodePlan) -> str:
    return node.policy if node.host_nodes else "default"


def _row(node: GuestNodePlan, mapping: MappingFacts | None, why_none: str) -> MemoryRow:
    known = mapping if mapping is not None else MappingFacts(0, 0)
    page_bytes = known.page_size_bytes or node.page_size_bytes
    wanted = frozenset(node.host_nodes)
    by_node = sum(count for _, count in known.pages) * page_bytes
    misplaced = sum(count for number, count in known.pages if wanted and number not in wanted) * page_bytes
    verdict, note = _verdict_of(node, mapping, misplaced, why_none)
    return MemoryRow(
        backend=f"mem{node.guest_node}",
        size_bytes=node.size_bytes,
        host_nodes=tuple(sorted(wanted)),
        policy=_planned_policy(node),
        page_size_bytes=node.page_size_bytes,
        start=mapping.start if mapping is not None else None,
        policy_in_force=known.policy,
        nodes_in_force=tuple(sorted(known.policy_nodes)),
        page_size_in_force_bytes=known.page_size_bytes,
        pages=known.pages,
        present_bytes=by_node if known.held_bytes is None else known.held_bytes,
        misplaced_bytes=misplaced,
        local_percent=_percent(by_node - misplaced, by_node) if wanted and by_node else None,
        verdict=verdict,
        note=note,
        transparent_huge_bytes=known.transparent_huge_bytes,
    )


def _verdict_of(
    node: GuestNodePlan, mapping: MappingFacts | None, misplaced_bytes: int, why_none: str
) -> tuple[MemoryVerdict, str]:
    if mapping is None:
        return "unknown", why_none
    notes = _notes_of(node, mapping, misplaced_bytes)
    if notes:
        return "drift", "; ".join(notes)
    if mapping.policy is None and (node.host_nodes or mapping.page_size_bytes is None):
        return "unknown", NO_NODES
    return "ok", ""


def _percent(part: int, whole: int) -> float:
    """Rounded down to tenths: 100.0 only where nothing is missing."""
    return part * 1000 // whole / 10


def _notes_of(node: GuestNodePlan, mapping: MappingFacts, misplaced_bytes: int) -> list[str]:
    """What is not as planned."""
    notes = []
    if not _policy_is_planned(node, mapping):
        notes.append(f"its policy is {_policy_text(mapping.policy or '', mapping.policy_nodes)}")
    if mapping.page_size_bytes not in (None, node.page_size_bytes):
        notes.append(f"its pages have {format_byte_size(mapping.page_size_bytes or 0)}")
    if misplaced_bytes:
        away = {number for number, count in mapping.pages if count and number not in node.host_nodes}
        notes.append(f"{format_byte_size(misplaced_bytes)} on node {format_cpulist(away)}")
    return notes


def _policy_text(policy: str, nodes: Iterable[int]) -> str:
    numbers = format_cpulist(nodes)
    return f"{policy}:{numbers}" if numbers else policy
