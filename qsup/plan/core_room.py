"""CoreRoom: which pCPUs of each host node are free for own vCPUs, counted in guest cores.

A host core offers its free pCPUs. A guest core takes `threads` pCPUs of one host node, in one of three manners:

    siblings   all on one host core
    loose      siblings where there are any, single pCPUs else
    whole      each vCPU a host core of its own, whose other pCPUs stay empty

Which of them to take is for `core_choice.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal

from attrs import evolve, frozen

from qsup.plan.host_index import HostIndex

Manner = Literal["siblings", "loose", "whole"]
Cores = Mapping[int, tuple[int, ...]]  # core → the pCPUs that it offers
Seat = tuple[tuple[int, ...], ...]  # for each guest core its pCPUs


@frozen
class Keep:
    """Of these pCPUs so many must be left to the shared pool."""

    spots: frozenset[int]
    count: int


@frozen
class CoreRoom:
    """Free pCPUs per host node and core; cores that offer nothing of use are absent.

    The pCPUs of a core stand in the order in which they are taken. `clean` are the cores that nobody else has a part of.
    `keeps` hold for whatever is taken; `free` leaves out pCPUs enough to fulfil them in any case, `offered` does not.
    """

    host: HostIndex
    free: Mapping[int, Cores]
    offered: Mapping[int, Cores]
    threads: int
    manner: Manner
    clean: frozenset[int]
    keeps: tuple[Keep, ...] = ()

    @staticmethod
    def of(host: HostIndex, barred: Collection[int], *, threads: int, manner: Manner) -> CoreRoom:
        """The room that `barred` pCPUs leave."""
        closed = frozenset(barred)
        clean = host.cores.keys() - {host.core_of[pcpu] for pcpu in closed & host.online}
        least = threads if manner == "siblings" else 1
        order = host.core_order
        everything = {
            node: {core: order[core] for core in cores if len(order[core]) >= least} for node, cores in host.node_cores.items()
        }
        room = CoreRoom(host, everything, everything, threads, manner, frozenset(clean))
        free = room._without(everything, closed)
        return evolve(room, free=free, offered=free)

    def keeping(self, keeps: tuple[Keep, ...], kept: frozenset[int]) -> CoreRoom:
        """The room under these conditions, which are fulfilled when `kept` stay untouched."""
        return evolve(self.without(kept), offered=self.offered, keeps=keeps)

    @cached_property
    def seats(self) -> dict[tuple[int, int, bool], tuple[int, Seat]]:
        """The seats that `core_choice.py` has found, with their costs: (host node, guest cores, spread) → seat."""
        return {}

    @cached_property
    def l3_rooms(self) -> Mapping[tuple[int, int], int]:
        """How many pCPUs each L3 group offers, by (host node, L3 group)."""
        rooms: Counter[tuple[int, int]] = Counter()
        for node, cores in self.offered.items():
            for core, pcpus in cores.items():
                rooms[node, self.host.l3_of_core[core]] += len(pcpus)
        return rooms

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
        gone = frozenset(pcpus)
        return evolve(
            self,
            free=self._without(self.free, gone),
            offered=self._without(self.offered, gone),
            keeps=tuple(Keep(keep.spots - gone, keep.count) for keep in self.keeps),
        )

    def _without(self, nodes: Mapping[int, Cores], gone: frozenset[int]) -> dict[int, Cores]:
        """The same tables where none of their cores is touched, new ones for the other nodes."""
        touched = {self.host.core_of[pcpu] for pcpu in gone & self.host.online}
        return {node: self._cores_without(cores, touched & cores.keys(), gone) for node, cores in nodes.items()}

    def _cores_without(self, cores: Cores, touched: Collection[int], gone: frozenset[int]) -> Cores:
        if not touched:
            return cores
        left_of = dict(cores)
        for core in touched:
            left = tuple(pcpu for pcpu in cores[core] if pcpu not in gone)
            if not left or self.whole or (self.manner == "siblings" and len(left) < self.threads):
                del left_of[core]
            else:
                left_of[core] = left
        return left_of

    def keeps_beside(self, pcpus: Iterable[int]) -> bool:
        """Whether the pool keeps what it must when these are taken."""
        taken = frozenset(pcpus)
        taken |= self.emptied(taken)
        return all(len(keep.spots - taken) >= keep.count for keep in self.keeps)

    def emptied(self, pcpus: Iterable[int]) -> frozenset[int]:
        """The siblings that must stay empty beside these pCPUs; none unless cores are taken whole."""
        taken = frozenset(pcpus)
        return self.host.siblings(taken) - taken if self.whole else frozenset()

    def accepts(self, pcpus: Sequence[int], nodes: Collection[int]) -> bool:
        """Whether these pCPUs are offered on one of these nodes and lie as those of a guest core must."""
        homes = {self.host.node_of.get(pcpu, -1) for pcpu in pcpus}
        node = homes.pop()
        if homes or node not in nodes or len(set(pcpus)) < len(pcpus):
            return False
        cores = self.offered.get(node, {})
        used = {self.host.core_of[pcpu] for pcpu in pcpus}
        if any(pcpu not in cores.get(self.host.core_of[pcpu], ()) for pcpu in pcpus):
            return False
        return self.manner == "loose" or len(used) == (len(pcpus) if self.whole else 1)
