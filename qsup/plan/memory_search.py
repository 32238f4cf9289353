"""Where the memory goes, and with it the VM: the search for host nodes.

Strategy, for `nodes = "auto"`: the last placement where it still fits; else the smallest number of host nodes that take
both memory and vCPUs, and among sets of that size the one that needs no pool growth, then the nearest ones, then (owned
pCPUs) the tightest or (shared) the least loaded; else memory where it fits, and the vCPUs on the nearest pCPUs, with a warning.
Sets are enumerated on hosts of up to eight nodes; on larger ones each node with its nearest neighbours stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.cpu_fit import CpuFit
from qsup.plan.layout import Layout, Share, even_parts, share_falling_over, share_on
from qsup.plan.memory_room import MemoryRoom, split_evenly

_ENUMERATED_NODES = 8


@frozen
class MemorySearch:
    """One search: the case, what pCPUs and memory there are, QEMU's overhead, and the host nodes that may be used."""

    case: Case
    fit: CpuFit
    room: MemoryRoom
    overhead_bytes: int
    allowed: tuple[int, ...]
    restricted: bool

    @cached_property
    def core_rooms(self) -> Mapping[int, int]:
        """Guest cores that each allowed node takes."""
        return {node: self.fit.guest_cores(node) for node in self.allowed}

    @cached_property
    def guest_cores(self) -> tuple[tuple[int, ...], ...]:
        """The VM's guest cores, each with its vCPUs."""
        return self.fit.topology.guest_cores(range(self.fit.topology.vcpus))

    def found(self) -> Layout | None:
        """The layout for "auto"; None where the memory does not fit, or the vCPUs do not."""
        if not self.allowed:
            return None
        if self.case.spec.memory.policy == "interleave":
            return self._interleaved()
        shares = self._pinned() if self.case.spec.cpu.placement == "pinned" else self._floating()
        if shares is not None:
            return Layout(shares, stray_nodes=())
        if self._cores_short():
            return None
        stray = self._least(with_cores=False)
        if stray is None and self.case.spec.memory.policy == "preferred":
            stray = self._preferred()
        return None if stray is None else Layout(stray, self.cpu_nodes())

    def _cores_short(self) -> bool:
        """Whether all nodes that may run the VM together lack pCPUs for it."""
        return sum(map(self.fit.guest_cores, self.cpu_nodes())) < len(self.guest_cores)

    def cpu_nodes(self) -> tuple[int, ...]:
        """The nodes that may run the VM: all that have pCPUs, or of the asked ones those that have (if any has)."""
        everywhere = tuple(sorted(self.case.host.node_pcpus))
        asked = tuple(node for node in self.allowed if node in self.case.host.node_pcpus)
        return asked if self.restricted and asked else everywhere

    def _floating(self) -> tuple[Share, ...] | None:
        return self._last() or self._least(with_cores=True)

    def _last(self) -> tuple[Share, ...] | None:
        """The recorded host nodes, one a guest node, where they still fit."""
        recorded = self.case.record.host_nodes if self.case.record else ()
        if not recorded or any(len(nodes) != 1 or nodes[0] not in self.allowed for nodes in recorded):
            return None
        nodes = [host_nodes[0] for host_nodes in recorded]
        return self._on(nodes, with_cores=True) if len(set(nodes)) == len(nodes) else None

    def _least(self, *, with_cores: bool) -> tuple[Share, ...] | None:
        for count in range(1, len(self.allowed) + 1):
            if self._hopeless(count):
                continue
            found = ((nodes, self._on(nodes, with_cores=with_cores)) for nodes in self._sets(count))
            fitting = [(self._rank(nodes, shares), shares) for nodes, shares in found if shares is not None]
            if fitting:
                return min(fitting, key=lambda ranked: ranked[0])[1]
        return None

    def _hopeless(self, count: int) -> bool:
        """Whether even the roomiest `count` nodes lack memory."""
        caps = sorted(self.room.capacities(self.allowed, self.overhead_bytes // count), reverse=True)
        return sum(caps[:count]) * self.room.unit_bytes < self.case.spec.memory.size_bytes

    def _sets(self, count: int) -> Iterable[tuple[int, ...]]:
        if len(self.allowed) <= _ENUMERATED_NODES:
            return combinations(self.allowed, count)
        distance = self.case.host.distance
        return sorted(
            {
                tuple(sorted(sorted(self.allowed, key=lambda node: (distance(seed, node), node))[:count]))
                for seed in self.allowed
            }
        )

    def _on(self, nodes: Sequence[int], *, with_cores: bool) -> tuple[Share, ...] | None:
        """One guest node per host node, memory and vCPUs split as evenly as they fit."""
        rooms = [self.core_rooms[node] if with_cores else len(self.guest_cores) for node in nodes]
        counts = split_evenly(len(self.guest_cores), rooms)
        if counts is None:
            return None
        owners = []
        first = 0
        for count in counts:
            owners.append(tuple(vcpu for core in self.guest_cores[first : first + count] for vcpu in core))
            first += count
        return self._split_over(nodes, owners)

    def _split_over(self, nodes: Sequence[int], owners: Sequence[tuple[int, ...]]) -> tuple[Share, ...] | None:
        """One guest node per host node with these vCPUs, memory as even as it fits; None where a node gives nothing."""
        parts = even_parts(self.overhead_bytes, len(nodes))
        caps = [self.room.capacities((node,), part)[0] for node, part in zip(nodes, parts, strict=True)]
        units = split_evenly(self.case.spec.memory.size_bytes // self.room.unit_bytes, caps)
        if units is None or not all(units):
            return None
        pieces = zip(nodes, parts, units, owners, strict=True)
        shares = [share_on(self.room, (node,), own, size * self.room.unit_bytes, part) for node, part, size, own in pieces]
        return tuple(share for share in shares if share is not None) if all(shares) else None

    def _rank(self, nodes: Sequence[int], shares: Sequence[Share]) -> tuple[object, ...]:
        distance = sum(self.case.host.distance(one, other) for one in nodes for other in nodes)
        way = self._way_to_pcpus(nodes)
        return (way, any(share.growth for share in shares), distance, *self._arrangement(nodes), tuple(nodes))

    def _way_to_pcpus(self, nodes: Sequence[int]) -> int:
        """How far the vCPUs sit from memory on these nodes: distance beyond local, summed over guest cores; 0 where all fit."""
        left, way = len(self.guest_cores), 0
        for home in self.case.host.nearest(nodes):
            if left and home in self._cpu_rooms:
                part = min(left, self._cpu_rooms[home])
                left -= part
                way += part * min(self.case.host.distance(node, home) - 10 for node in nodes)
        return way

    @cached_property
    def _cpu_rooms(self) -> Mapping[int, int]:
        return {node: self.fit.guest_cores(node) for node in self.cpu_nodes()}

    def _arrangement(self, nodes: Sequence[int]) -> tuple[int, int]:
        left = sum(self.room.capacities(nodes, 0))
        if self.case.spec.cpu.placement == "shared":
            load = sum(self.case.others.shared_load.get(node, 0) for node in nodes)
            return (load * 1_000_000 // max(1, len(self.fit.pool.on(nodes))), -left)
        return (sum(self.core_rooms[node] for node in nodes), left)

    def _pinned(self) -> tuple[Share, ...] | None:
        """Guest nodes after the pins: one for each host node that pins lie on, where no guest core straddles two."""
        homes = self._homes_of_cores()
        if homes is None:
            return self._beside_pins()
        nodes = sorted(set(homes.values()))
        if not set(nodes) <= set(self.allowed):
            return self._beside_pins()
        owners = [tuple(vcpu for core in self.guest_cores if homes[core] == node for vcpu in core) for node in nodes]
        return self._split_over(nodes, owners) or self._beside_pins()

    def _homes_of_cores(self) -> dict[tuple[int, ...], int] | None:
        """The host node of each guest core's pins; None where one straddles nodes (or names no online pCPU)."""
        pins = self.case.spec.cpu.pin or ()
        homes: dict[tuple[int, ...], int] = {}
        for core in self.guest_cores:
            pcpus = [pcpu for vcpu in core if vcpu < len(pins) for pcpu in pins[vcpu]]
            nodes = {self.case.host.node_of.get(pcpu, -1) for pcpu in pcpus}
            if len(nodes) != 1 or -1 in nodes:
                return None
            homes[core] = nodes.pop()
        return homes

    def _beside_pins(self) -> tuple[Share, ...] | None:
        """All memory on the one pinned node that takes it, those with most pins first."""
        vcpus = tuple(range(self.fit.topology.vcpus))
        for node in self.fit.pinned_nodes:
            if node in self.allowed:
                share = share_on(
                    self.room, (node,), vcpus, self.case.spec.memory.size_bytes, self.overhead_bytes
                )
                if share is not None:
                    return (share,)
        return None

    def _interleaved(self) -> Layout | None:
        """One guest node over all allowed nodes that have anything to give."""
        if self._cores_short():
            return None
        part = self.overhead_bytes // len(self.allowed)
        nodes = [node for node, cap in zip(self.allowed, self.room.capacities(self.allowed, part), strict=True) if cap]
        vcpus = tuple(range(self.fit.topology.vcpus))
        size_bytes = self.case.spec.memory.size_bytes
        share = share_on(self.room, nodes, vcpus, size_bytes, self.overhead_bytes) if nodes else None
        return None if share is None else Layout((share,), self.cpu_nodes())

    def _preferred(self) -> tuple[Share, ...] | None:
        """One guest node on the roomiest node (pins and pCPUs first), what is missing from its neighbours."""
        vcpus = tuple(range(self.fit.topology.vcpus))
        caps = dict(zip(self.allowed, self.room.capacities(self.allowed, self.overhead_bytes), strict=True))
        pinned = self.fit.pinned_nodes
        first = min(self.allowed, key=lambda node: (node not in pinned, not self.core_rooms[node], -caps[node], node))
        order = sorted(self.allowed, key=lambda node: (self.case.host.distance(first, node), node))
        share = share_falling_over(
            self.room, order, vcpus, self.case.spec.memory.size_bytes, self.overhead_bytes
        )
        return None if share is None else (share,)

