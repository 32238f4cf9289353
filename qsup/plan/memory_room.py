"""MemoryRoom: how much memory each host node can still give this VM, in hugepages or base pages.

Strategy, per node:

    pages  = pool.free + what this VM has taken itself + what the pool will grow by for others − those left to others by the
             settings − max(promised to others and not yet taken, reserved by anybody)
    base   = memory free + what this VM has taken itself − the host's reserve − base pages promised to others and not yet taken
             − what pools will grow by for others − pages promised to others that are missing even then
    room   = pages × page size, plus what the pool can grow by out of `base` (hugepages); or `base` (base pages)

QEMU's own overhead comes out of `base` in either case, before anything else. A room is seen in pages of one size at a time;
guest nodes on pages of other sizes see the same room through `on_pages`, so that the next finds `base` less what one took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from qsup.bytesize import MIB
from qsup.plan.case import Case
from qsup.plan.host_facts import HostNodeFacts, PoolFacts


@frozen
class NodeRoom:
    """What one host node has left. `pools` has the pages of each size; the room is seen in those of `page_size_bytes`."""

    base_bytes: int
    pools: Mapping[int, int]
    page_size_bytes: int
    grows: bool
    hugepages: bool

    @property
    def pages(self) -> int | None:
        """The hugepages left; None where the node has no pool of that size (or base pages are asked)."""
        return self.pools.get(self.page_size_bytes) if self.hugepages else None

    def capacity_bytes(self, overhead_bytes: int) -> int:
        """Guest memory that fits beside this much overhead; 0 where not even the overhead does."""
        spare = self.base_bytes - overhead_bytes
        if spare < 0:
            return 0
        if not self.hugepages:
            return spare
        pages = self.pages
        if pages is None:
            return 0
        growth = spare // self.page_size_bytes if self.grows else 0
        return (pages + growth) * self.page_size_bytes

    def growth_for(self, size_bytes: int) -> int:
        """Pages by which the pool must grow to hold `size_bytes`."""
        pages = self.pages
        return 0 if pages is None else max(0, size_bytes // self.page_size_bytes - pages)

    def less(self, size_bytes: int, overhead_bytes: int) -> NodeRoom:
        """What is left after these are taken."""
        pages = self.pages
        if pages is None:
            return evolve(self, base_bytes=self.base_bytes - size_bytes - overhead_bytes)
        growth = self.growth_for(size_bytes)
        return evolve(
            self,
            base_bytes=self.base_bytes - overhead_bytes - growth * self.page_size_bytes,
            pools={**self.pools, self.page_size_bytes: pages + growth - size_bytes // self.page_size_bytes},
        )


@frozen
class MemoryRoom:
    """All nodes' rooms, ascending by node. `unit_bytes` is what guest memory is split by."""

    nodes: Mapping[int, NodeRoom]
    unit_bytes: int
    base_page_bytes: int

    @staticmethod
    def of(case: Case) -> MemoryRoom:
        """The room in pages of the size that `[memory]` names."""
        memory, base_page = case.spec.memory, case.facts.page_size_bytes
        nodes = {node.host_node: _node_room(case, node, memory.hugepages_bytes) for node in case.facts.nodes}
        return MemoryRoom(nodes, memory.hugepages_bytes or _base_unit(memory.size_bytes, base_page), base_page)

    def on_pages(self, page_size: int | None, size_bytes: int) -> MemoryRoom:
        """The same room for so much memory on hugepages of this size (None: on base pages)."""
        unit = page_size or _base_unit(size_bytes, self.base_page_bytes)
        seen = next(iter(self.nodes.values()), None)
        if seen is None or (seen.hugepages, seen.page_size_bytes) == (page_size is not None, page_size or self.base_page_bytes):
            return evolve(self, unit_bytes=unit)
        nodes = {
            node: evolve(room, page_size_bytes=page_size or self.base_page_bytes, hugepages=page_size is not None)
            for node, room in self.nodes.items()
        }
        return evolve(self, nodes=nodes, unit_bytes=unit)

    def less(self, node: int, size_bytes: int, overhead_bytes: int) -> MemoryRoom:
        """The room after one node gave these."""
        return evolve(self, nodes={**self.nodes, node: self.nodes[node].less(size_bytes, overhead_bytes)})

    def capacities(self, nodes: Sequence[int], overhead_bytes: int) -> tuple[int, ...]:
        """Units of guest memory that each of the nodes takes beside its part of the overhead."""
        return tuple(self.nodes[node].capacity_bytes(overhead_bytes) // self.unit_bytes for node in nodes)


def _base_unit(size_bytes: int, base_page_bytes: int) -> int:
    """1 MiB where the size is made of such, else the host's page."""
    return MIB if size_bytes % MIB == 0 else base_page_bytes


def _node_room(case: Case, node: HostNodeFacts, page_size: int | None) -> NodeRoom:
    own = case.own
    own_base = own.base_taken_bytes.get(node.host_node, 0) if own else 0
    left = {pool.page_size_bytes: _pages_left(case, node, pool) for pool in node.pools}
    ungrown = sum(_pages_to_come(case, node, size, pages) * size for size, pages in left.items())
    base = (
        node.memory_free_bytes
        + own_base
        - case.policy.reserved_memory_on(node.host_node)
        - case.others.base_due.get(node.host_node, 0)
        - ungrown
    )
    return NodeRoom(
        base_bytes=base,
        pools={size: max(0, pages) for size, pages in left.items()},
        page_size_bytes=page_size or case.facts.page_size_bytes,
        grows=case.policy.grow_hugepages and case.facts.may_grow_pools,
        hugepages=page_size is not None,
    )


def _pages_left(case: Case, node: HostNodeFacts, pool: PoolFacts) -> int:
    """Pages less promises, after the pool has grown for others; negative by what they were promised and miss even then."""
    key = (node.host_node, pool.page_size_bytes)
    own = case.own
    own_taken = own.pages_taken.get(key, 0) if own else 0
    kept = case.policy.reserved_pages_on(node.host_node, pool.page_size_bytes)
    free = pool.free + own_taken + case.others.growth_due.get(key, 0)
    return free - kept - max(case.others.pages_due.get(key, 0), min(pool.reserved, pool.free))


def _pages_to_come(case: Case, node: HostNodeFacts, page_size: int, pages_left: int) -> int:
    """Pages for others that base memory has yet to become: what the pool will grow by, and promises that miss more."""
    key = (node.host_node, page_size)
    missing = min(case.others.pages_due.get(key, 0), max(0, -pages_left))
    return case.others.growth_due.get(key, 0) + missing


def split_evenly(total: int, capacities: Sequence[int]) -> tuple[int, ...] | None:
    """`total` in parts as equal as the capacities allow (earlier parts get the odd units); None where it does not fit."""
    if total > sum(capacities) or not capacities:
        return None
    if len(capacities) == 1:
        return (total,)
    parts = [0] * len(capacities)
    left = total
    by_room = sorted(range(len(capacities)), key=lambda position: (capacities[position], -position))
    for done, position in enumerate(by_room):
        parts[position] = min(capacities[position], left // (len(by_room) - done))
        left -= parts[position]
    return tuple(parts)
