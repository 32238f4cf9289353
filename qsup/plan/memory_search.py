"""Where the memory goes, and with it the VM: the search for host nodes.

Strategy, for `nodes = "auto"`: the last placement where it still fits; else the cheapest set of host nodes (`cost.py`) that
takes both memory and vCPUs, which in nearly all cases is one of the smallest; of equal ones the fullest (or emptiest, by
policy), then the lowest; else memory where it fits, and the vCPUs on the nearest pCPUs, with a warning.
Sets are enumerated on hosts of up to eight nodes; on larger ones each node with its nearest neighbours stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.core_choice import seat_on
from qsup.plan.cost import REMOTE, devices_cost, load_cost, nodes_cost, uneven_cost
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
        """Guest cores with their own pCPUs that each allowed node takes."""
        return {node: self.fit.guest_cores(node) for node in self.allowed}

    @cached_property
    def owned_cores(self) -> tuple[tuple[int, ...], ...]:
        """The VM's guest cores that get pCPUs of their own, each with its vCPUs."""
        return self.fit.owned_cores(range(self.fit.topology.vcpus))

    @cached_property
    def floating_cores(self) -> tuple[tuple[int, ...], ...]:
        """The VM's guest cores that float."""
        return self.fit.floating_cores(range(self.fit.topology.vcpus))

    def found(self) -> Layout | None:
        """The layout for "auto"; None where the memory does not fit, or the vCPUs do not."""
        if not self.allowed:
            return None
        if self.case.spec.memory.policy == "interleave":
            return self._interleaved()
        shares = self._pinned() if self.case.spec.cpu.placement == "pinned" else self._floating()
        if shares is not None:
            return Layout(shares, stray_nodes=(), cost=self._cost_of_shares(shares))
        if self.cores_short():
            return None
        stray = self._least(with_cores=False)
        if stray is None and self.case.spec.memory.policy == "preferred":
            stray = self._preferred()
        return None if stray is None else Layout(stray, self.cpu_nodes(), cost=self._cost_of_shares(stray))

    def _cost_of_shares(self, shares: Sequence[Share]) -> int:
        if self.case.spec.cpu.placement == "pinned" or any(len(share.host_nodes) != 1 for share in shares):
            return 0
        return self.cost_of([share.host_nodes[0] for share in shares], shares)

    def cores_short(self) -> bool:
        """Whether all nodes that may run the VM together lack pCPUs for it."""
        return not self.fit.takes(self.cpu_nodes())

    def cpu_nodes(self) -> tuple[int, ...]:
        """The nodes that may run the VM: all that have pCPUs, or of the asked ones those that have (if any has)."""
        everywhere = tuple(node for node in sorted(self.case.host.node_pcpus) if self.case.policy.allows(node))
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
        """The cheapest layout over any set of nodes."""
        best: tuple[tuple[int, ...], tuple[Share, ...]] | None = None
        for count in range(1, len(self.allowed) + 1):
            if best is not None and best[0][0] <= nodes_cost(self.case.host, (0,) * count, grows=False):
                break
            if self._hopeless(count, with_cores=with_cores):
                continue
            for nodes in self._sets(count):
                shares = self._on(nodes, with_cores=with_cores)
                rank = None if shares is None else self._rank(nodes, shares)
                if rank is not None and shares is not None and (best is None or rank < best[0]):
                    best = (rank, shares)
        return None if best is None else best[1]

    def _hopeless(self, count: int, *, with_cores: bool) -> bool:
        """Whether even the roomiest `count` nodes lack memory or pCPUs."""
        if with_cores and sum(sorted(self.core_rooms.values(), reverse=True)[:count]) < len(self.owned_cores):
            return True
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
        owned = [self.core_rooms[node] if with_cores else len(self.owned_cores) for node in nodes]
        if sum(owned) < len(self.owned_cores):
            return None
        floating = [self._floating_room((node,), with_cores=with_cores) for node in nodes]
        counts = self._cheapest_counts(nodes, owned)
        float_counts = split_evenly(len(self.floating_cores), floating)
        if counts is None or float_counts is None:
            return None
        parts = zip(_cut(self.owned_cores, counts), _cut(self.floating_cores, float_counts), strict=True)
        return self._split_over(nodes, [tuple(sorted((*own, *floats))) for own, floats in parts])

    def _cheapest_counts(self, nodes: Sequence[int], rooms: Sequence[int]) -> tuple[int, ...] | None:
        """Guest cores on each node, as even as the nodes take them; who gets the odd ones is a matter of cost."""
        counts = split_evenly(len(self.owned_cores), rooms)
        if counts is None or self.fit.room is None or len(set(counts)) == 1:
            return counts
        turned = (split_evenly(len(self.owned_cores), [*rooms[at:], *rooms[:at]]) or () for at in range(1, len(nodes)))
        others = [(*part[len(nodes) - at :], *part[: len(nodes) - at]) for at, part in enumerate(turned, start=1)]
        return min((counts, *others), key=lambda parts: sum(map(self._seat_cost, nodes, parts)))

    def _floating_room(self, nodes: Sequence[int], *, with_cores: bool) -> int:
        """Floating guest cores that the nodes take together; without any pool pCPU they borrow those of the nearest node."""
        if not self.floating_cores:
            return 0
        if not with_cores and not self.fit.pool.on(nodes):
            return len(self.floating_cores)
        return sum(map(self.fit.floats_on, nodes)) // self.fit.topology.threads

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

    def _rank(self, nodes: Sequence[int], shares: Sequence[Share]) -> tuple[int, ...]:
        """Cost first; then the fullest or emptiest nodes, by policy; then the lowest."""
        left = sum(self.core_rooms[node] for node in nodes), sum(self.room.capacities(nodes, 0))
        emptiest = self.case.policy.strategy == "spread" or not self.owned_cores
        return (self.cost_of(nodes, shares), *((-room for room in left) if emptiest else left), *nodes)

    def cost_of(self, nodes: Sequence[int], shares: Sequence[Share]) -> int:
        """The points that speak against guest memory on these nodes with these guest nodes."""
        cost = nodes_cost(self.case.host, nodes, grows=any(share.growth for share in shares))
        cost += devices_cost(self._devices, nodes)
        if not all(self._takes(node, share) for node, share in zip(nodes, shares, strict=True)):
            cost += REMOTE * self._way_to_pcpus(nodes) * self.fit.topology.threads
        if self.floating_cores:
            load = sum(self.case.others.shared_load.get(node, 0) for node in nodes)
            own = len(self.floating_cores) * self.fit.topology.threads
            cost += load_cost(load + own, len(self.fit.pool.on(nodes)))
        if self.fit.room is None:
            return cost
        floating, threads = self.fit.floating, self.fit.topology.threads
        counts = [len(frozenset(share.vcpus) - floating) // threads for share in shares]
        return cost + uneven_cost(counts) + sum(map(self._seat_cost, nodes, counts))

    def _takes(self, node: int, share: Share) -> bool:
        """Whether the node has the pCPUs for the vCPUs of a guest node on it."""
        floating = len(self.fit.floating.intersection(share.vcpus))
        return len(share.vcpus) - floating <= self.core_rooms[node] * self.fit.topology.threads and (
            not floating or floating <= self.fit.floats_on(node)
        )

    def _seat_cost(self, node: int, count: int) -> int:
        assert self.fit.room is not None, "only VMs with pCPUs of their own have seats"
        return seat_on(self.fit.room, node, count, spread=self.case.policy.strategy == "spread")[0]

    @cached_property
    def _devices(self) -> tuple[int, ...]:
        """The host nodes of the disks' and nics' hardware, as far as they are known."""
        facts, spec = self.case.facts, self.case.spec
        images = (facts.images.get(disk.path) for disk in spec.disks)
        bridges = (facts.bridges.get(nic.bridge) for nic in spec.nics)
        homes = (thing.host_node for thing in (*images, *bridges) if thing is not None)
        return tuple(home for home in homes if home is not None)

    def _way_to_pcpus(self, nodes: Sequence[int]) -> int:
        """How far the vCPUs sit from memory on these nodes: distance beyond local, summed over guest cores; 0 where all fit."""
        owned = self._way(nodes, len(self.owned_cores), self.fit.guest_cores)
        threads = self.fit.topology.threads
        return owned + self._way(nodes, len(self.floating_cores), lambda node: self.fit.floats_on(node) // threads)

    def _way(self, nodes: Sequence[int], cores: int, room_on: Callable[[int], int]) -> int:
        left, way = cores, 0
        for home in self.case.host.nearest(nodes):
            if left and home in self.cpu_nodes():
                part = min(left, room_on(home))
                left -= part
                way += part * min(self.case.host.distance(node, home) - 10 for node in nodes)
        return way

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

    @cached_property
    def guest_cores(self) -> tuple[tuple[int, ...], ...]:
        """All guest cores, each with its vCPUs."""
        return self.fit.topology.guest_cores(range(self.fit.topology.vcpus))

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
        if self.cores_short():
            return None
        part = self.overhead_bytes // len(self.allowed)
        nodes = [node for node, cap in zip(self.allowed, self.room.capacities(self.allowed, part), strict=True) if cap]
        vcpus = tuple(range(self.fit.topology.vcpus))
        size_bytes = self.case.spec.memory.size_bytes
        share = share_on(self.room, nodes, vcpus, size_bytes, self.overhead_bytes) if nodes else None
        if share is None or len(self.floating_cores) > self._floating_room(share.host_nodes, with_cores=False):
            return None
        return Layout((share,), self.cpu_nodes())

    def _preferred(self) -> tuple[Share, ...] | None:
        """One guest node on the roomiest node (pins and pCPUs first), what is missing from its neighbours."""
        vcpus = tuple(range(self.fit.topology.vcpus))
        caps = dict(zip(self.allowed, self.room.capacities(self.allowed, self.overhead_bytes), strict=True))
        pinned = self.fit.pinned_nodes
        suited = [node for node in self.allowed if self._floating_room((node,), with_cores=False) >= len(self.floating_cores)]
        for first in sorted(suited, key=lambda node: (node not in pinned, not self.core_rooms[node], -caps[node], node)):
            order = sorted(self.allowed, key=lambda node: (self.case.host.distance(first, node), node))
            share = share_falling_over(self.room, order, vcpus, self.case.spec.memory.size_bytes, self.overhead_bytes)
            if share is not None and share.memory[0][0] in suited:  # a node that gives nothing does not draw the VM
                return (share,)
        return None



def _cut(cores: Sequence[tuple[int, ...]], counts: Sequence[int]) -> list[tuple[int, ...]]:
    """The vCPUs of the guest cores, in parts of so many guest cores."""
    starts = [sum(counts[:at]) for at in range(len(counts))]
    parts = (cores[start : start + count] for start, count in zip(starts, counts, strict=True))
    return [tuple(vcpu for core in part for vcpu in core) for part in parts]
