"""CoreRoom: which pCPUs of each host node are free for own vCPUs, counted in guest cores.

A host core offers its free pCPUs. A guest core takes `threads` pCPUs of one host node, in one of three manners:

    siblings   all on one host core
    loose      siblings where there are any, single pCPUs else
    whole      each vCPU a host core of its own, whose other pCPUs stay empty

Which of them to take is for `core_choice.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, frozen

from qsup.plan.host_index import HostIndex

Manner = Literal["siblings", "loose", "whole"]


@frozen
class CoreRoom:
    """Free pCPUs per host node and core; cores that offer nothing of use are absent.

    `clean` are the cores that nobody else has a part of. `last_cores`: where housekeeping is on small hosts.
    """

    host: HostIndex
    free: Mapping[int, Mapping[int, tuple[int, ...]]]
    threads: int
    manner: Manner
    clean: frozenset[int]
    last_cores: frozenset[int]

    @staticmethod
    def of(host: HostIndex, barred: Collection[int], *, threads: int, manner: Manner) -> CoreRoom:
        """The room that `barred` pCPUs leave."""
        closed = frozenset(barred)
        clean = frozenset(core for core, members in host.cores.items() if closed.isdisjoint(members))
        last = frozenset({host.core_of[min(host.online)]}) if host.small and host.online else frozenset()
        free = {node: {core: host.cores[core] for core in cores} for node, cores in host.node_cores.items()}
        room = CoreRoom(host, free, threads, manner, clean, last)
        return evolve(room, free={node: room._cores_without(node, closed) for node in free})

    @property
    def whole(self) -> bool:
        """Whether each vCPU takes its host core whole."""
        return self.manner == "whole"

    def guest_cores(self, node: int) -> int:
        """How many guest cores the node takes."""
        cores = self.free.get(node, {})
        return self.guest_cores_of(cores.values())

    def guest_cores_of(self, offers: Collection[Sequence[int]]) -> int:
        """How many guest cores these host cores take, each given by its free pCPUs."""
        if self.whole:
            return len(offers) // self.threads
        if self.manner == "siblings":
            return sum(len(left) // self.threads for left in offers)
        return sum(map(len, offers)) // self.threads

    def without(self, pcpus: Iterable[int]) -> CoreRoom:
        """The room after these pCPUs are gone as well."""
        gone = frozenset(pcpus) & self.host.online
        nodes = {self.host.node_of[pcpu] for pcpu in gone}
        renewed = {node: self._cores_without(node, gone) for node in nodes}
        return evolve(self, free={**self.free, **renewed})

    def _cores_without(self, node: int, gone: frozenset[int]) -> dict[int, tuple[int, ...]]:
        least = {"siblings": self.threads, "loose": 1, "whole": 1}[self.manner]
        cores: dict[int, tuple[int, ...]] = {}
        for core, members in self.free[node].items():
            left = members if gone.isdisjoint(members) else tuple(pcpu for pcpu in members if pcpu not in gone)
            if len(left) >= least and (not self.whole or len(left) == len(self.host.cores[core])):
                cores[core] = left
        return cores

    def emptied(self, pcpus: Iterable[int]) -> frozenset[int]:
        """The siblings that must stay empty beside these pCPUs; none unless cores are taken whole."""
        taken = frozenset(pcpus)
        return self.host.siblings(taken) - taken if self.whole else frozenset()

    def accepts(self, pcpus: Sequence[int], nodes: Collection[int]) -> bool:
        """Whether these pCPUs are free on one of these nodes and lie as those of a guest core must."""
        homes = {self.host.node_of.get(pcpu, -1) for pcpu in pcpus}
        node = homes.pop()
        if homes or node not in nodes or len(set(pcpus)) < len(pcpus):
            return False
        cores = self.free.get(node, {})
        used = {self.host.core_of[pcpu] for pcpu in pcpus}
        if any(pcpu not in cores.get(self.host.core_of[pcpu], ()) for pcpu in pcpus):
            return False
        return self.manner == "loose" or len(used) == (len(pcpus) if self.whole else 1)
