"""HostIndex: the pCPUs of a host by number, core and node. Computed once per HostFacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from attrs import frozen

from qsup.plan.pcpu_facts import PcpuFacts

_UNKNOWN_DISTANCE = 20  # Linux' REMOTE_DISTANCE: what it assumes where the firmware tells nothing
_LOCAL_DISTANCE = 10

# The last cores last, performance before efficient, isolated before the pool's (fewest of the pool first), the lowest first.
CoreKind = tuple[bool, bool, bool, int, int]


@frozen
class HostIndex:
    """Look-ups over a host's pCPUs.

    `cores` maps a core to its online pCPUs, ascending; `core_of` an online pCPU to its core. `node_pcpus` maps a node to
    its online pCPUs (a node without any is absent). `threads` is the largest number of online pCPUs that one core has.
    """

    by_pcpu: Mapping[int, PcpuFacts]
    online: frozenset[int]
    isolated: frozenset[int]
    cores: Mapping[int, tuple[int, ...]]
    core_of: Mapping[int, int]
    node_of: Mapping[int, int]
    node_pcpus: Mapping[int, frozenset[int]]
    node_cores: Mapping[int, tuple[int, ...]]
    threads: int
    distances: Mapping[int, Mapping[int, int]]
    l3_of_core: Mapping[int, int]
    efficient_cores: frozenset[int]

    @staticmethod
    def of(pcpus: Iterable[PcpuFacts], distances: Mapping[int, Mapping[int, int]]) -> HostIndex:
        """The index of these pCPUs; those that are offline are known by number only."""
        everything = sorted(pcpus, key=lambda facts: facts.pcpu)
        online = [facts for facts in everything if facts.online]
        cores = _grouped((facts.core, facts.pcpu) for facts in online)
        nodes = _grouped((facts.host_node, facts.pcpu) for facts in online)
        first = {core: members[0] for core, members in cores.items()}
        by_pcpu = {facts.pcpu: facts for facts in everything}
        return HostIndex(
            by_pcpu=by_pcpu,
            online=frozenset(facts.pcpu for facts in online),
            isolated=frozenset(facts.pcpu for facts in online if facts.isolated),
            cores={core: tuple(members) for core, members in cores.items()},
            core_of={facts.pcpu: facts.core for facts in online},
            node_of={facts.pcpu: facts.host_node for facts in online},
            node_pcpus={node: frozenset(members) for node, members in nodes.items()},
            node_cores={
                node: tuple(sorted({by_pcpu[pcpu].core for pcpu in members}, key=first.__getitem__))
                for node, members in nodes.items()
            },
            threads=max((len(members) for members in cores.values()), default=1),
            distances=distances,
            l3_of_core={facts.core: -1 if facts.l3 is None else facts.l3 for facts in online},
            efficient_cores=frozenset(facts.core for facts in online if facts.core_type == "efficient"),
        )

    @property
    def small(self) -> bool:
        """Whether the host has at most two cores: too few to keep one for housekeeping alone."""
        return len(self.cores) <= 2

    @cached_property
    def last_cores(self) -> frozenset[int]:
        """The first core of a small host: QEMU's other threads are there, so vCPUs come last."""
        return frozenset({self.core_of[min(self.online)]}) if self.small and self.online else frozenset()

    @cached_property
    def core_order(self) -> Mapping[int, tuple[int, ...]]:
        """For each core its pCPUs in the order in which they are taken: isolated ones first, of no use to the shared pool."""
        return {
            core: tuple(sorted(members, key=lambda pcpu: (pcpu not in self.isolated, pcpu)))
            for core, members in self.cores.items()
        }

    @cached_property
    def core_kinds(self) -> Mapping[int, CoreKind]:
        """For each core its kind, by which it ranks among others; no two are equal."""
        return {core: self._kind_of(core, members) for core, members in self.cores.items()}

    def _kind_of(self, core: int, members: tuple[int, ...]) -> CoreKind:
        isolated = len(self.isolated.intersection(members))
        pooled = len(members) - isolated if self.isolated else 0
        return (core in self.last_cores, core in self.efficient_cores, not isolated, pooled, members[0])

    def pcpus_of(self, nodes: Iterable[int]) -> frozenset[int]:
        """The online pCPUs of the nodes together."""
        found: frozenset[int] = frozenset()
        for node in nodes:
            found |= self.node_pcpus.get(node, frozenset())
        return found

    def distance(self, one: int, other: int) -> int:
        """SLIT distance between two host nodes; 20 where the host does not tell."""
        if one == other:
            return _LOCAL_DISTANCE
        return self.distances.get(one, {}).get(other, _UNKNOWN_DISTANCE)

    def nearest(self, nodes: Iterable[int]) -> tuple[int, ...]:
        """All nodes that have online pCPUs, those nearest to `nodes` first; equal distances by number."""
        anchors = tuple(nodes)
        return tuple(
            sorted(
                self.node_pcpus,
                key=lambda node: (min((self.distance(anchor, node) for anchor in anchors), default=0), node),
            )
        )

    def siblings(self, pcpus: Iterable[int]) -> frozenset[int]:
        """All online pCPUs of the cores that these pCPUs belong to."""
        cores = {self.core_of[pcpu] for pcpu in pcpus if pcpu in self.core_of}
        return frozenset(member for core in cores for member in self.cores[core])


def _grouped(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
