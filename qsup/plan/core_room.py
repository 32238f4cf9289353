"""CoreRoom: which pCPUs of each node are free for dedicated and isolated vCPUs, and which of them to take.

Strategy: a host core offers its free pCPUs. A *group* is a set of vCPUs that must share one host core: the threads of a
guest core where guest and host have SMT, else a single vCPU; isolated: a single vCPU that takes the core whole. `take` is
greedy over cores in an order that keeps a VM inside one L3 group where one suffices, uses up broken cores before whole
ones for single vCPUs, and prefers isolated pCPUs, since these are of no use to the shared pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from qsup.plan.host_index import HostIndex


@frozen
class CoreRoom:
    """Free pCPUs per node and core. `group` is the number of vCPUs that share a host core; `whole`: one takes it alone."""

    host: HostIndex
    free: Mapping[int, Mapping[int, tuple[int, ...]]]
    group: int
    whole: bool
    last_cores: frozenset[int]

    @staticmethod
    def of(host: HostIndex, barred: Collection[int], *, group: int, whole: bool) -> CoreRoom:
        """The room that `barred` pCPUs leave. On small hosts the first core, where housekeeping is, is taken last."""
        closed = frozenset(barred)
        free: dict[int, dict[int, tuple[int, ...]]] = {}
        for node, cores in host.node_cores.items():
            free[node] = {}
            for core in cores:
                members = host.cores[core]
                left = tuple(pcpu for pcpu in members if pcpu not in closed)
                if len(left) >= group and (not whole or len(left) == len(members)):
                    free[node][core] = left
        last = frozenset({host.core_of[min(host.online)]}) if host.small and host.online else frozenset()
        return CoreRoom(host, free, group, whole, last)

    def groups(self, node: int) -> int:
        """How many groups the node takes."""
        return sum(self._groups_on(left) for left in self.free.get(node, {}).values())

    def _groups_on(self, left: Sequence[int]) -> int:
        return 1 if self.whole else len(left) // self.group

    def without(self, pcpus: Iterable[int]) -> CoreRoom:
        """The room after these pCPUs are gone as well."""
        gone = frozenset(pcpus)
        nodes = {self.host.node_of[pcpu] for pcpu in gone}
        renewed = {node: self._cores_without(node, gone) for node in nodes if node in self.free}
        return evolve(self, free={**self.free, **renewed})

    def _cores_without(self, node: int, gone: frozenset[int]) -> dict[int, tuple[int, ...]]:
        cores: dict[int, tuple[int, ...]] = {}
        for core, members in self.free[node].items():
            left = tuple(pcpu for pcpu in members if pcpu not in gone)
            if len(left) >= self.group and (not self.whole or len(left) == len(members)):
                cores[core] = left
        return cores

    def take(self, node: int, count: int) -> tuple[tuple[int, ...], ...]:
        """pCPUs for up to `count` groups on the node: one tuple a group, fewer tuples where the node has no more."""
        cores = self.free.get(node, {})
        if self.whole:
            return tuple(cores[core][:1] for core in self._ordered(node, count)[:count])
        if self.group == 1:
            return self._singles(node, count)
        parts = (
            cores[core][start : start + self.group]
            for core in self._ordered(node, count)
            for start in range(0, self._groups_on(cores[core]) * self.group, self.group)
        )
        return tuple(part for part, _ in zip(parts, range(count), strict=False))

    def _singles(self, node: int, count: int) -> tuple[tuple[int, ...], ...]:
        """Whole cores while more vCPUs are left than a core has pCPUs, then broken ones, then whatever is left."""
        cores = self.free.get(node, {})
        order = self._ordered(node, count)
        whole = [core for core in order if len(cores[core]) == len(self.host.cores[core])]
        broken = [core for core in order if len(cores[core]) < len(self.host.cores[core])]
        taken: list[int] = []
        rest: list[int] = []
        for core in whole:
            fits = len(cores[core]) <= count - len(taken)
            (taken if fits else rest).extend(cores[core])
        leftovers = [pcpu for core in broken for pcpu in cores[core]] + rest
        return tuple((pcpu,) for pcpu in (taken + leftovers)[:count])

    def _ordered(self, node: int, count: int) -> list[int]:
        """The node's cores, best first, for `count` groups."""
        cores = self.free.get(node, {})
        room: Counter[tuple[bool, int]] = Counter()
        for core, left in cores.items():
            room[self._pocket(core)] += self._groups_on(left)
        rank = {pocket: _pocket_rank(pocket, room[pocket], count) for pocket in room}
        return sorted(
            cores,
            key=lambda core: (
                core in self.last_cores,
                rank[self._pocket(core)],
                core in self.host.efficient_cores,
                self.host.cores[core][0],
            ),
        )

    def _pocket(self, core: int) -> tuple[bool, int]:
        """Cores that are alike for placement: (not isolated, L3 group)."""
        return (self.host.cores[core][0] not in self.host.isolated, self.host.l3_of_core[core])

    def emptied(self, pcpus: Iterable[int]) -> frozenset[int]:
        """The siblings that must stay empty beside these pCPUs; none unless isolated."""
        taken = frozenset(pcpus)
        return self.host.siblings(taken) - taken if self.whole else frozenset()

    def accepts(self, pcpus: Sequence[int], nodes: Collection[int]) -> bool:
        """Whether these pCPUs, one a vCPU of one group, are free on these nodes and lie as a group must."""
        core = self.host.core_of.get(pcpus[0], -1)
        left = next((self.free[node][core] for node in nodes if core in self.free.get(node, {})), ())
        return len(set(pcpus)) == len(pcpus) and set(pcpus) <= set(left)


def _pocket_rank(pocket: tuple[bool, int], room: int, count: int) -> tuple[bool, bool, int, int]:
    """Isolated first; then pockets that hold all, the tightest first; then the roomiest."""
    shared_side, l3 = pocket
    suffices = room >= count
    return (shared_side, not suffices, room if suffices else -room, l3)
