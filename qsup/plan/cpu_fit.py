"""CpuFit: where the vCPUs of this VM can go, asked by the memory search ("how many guest cores does this node take?").

A VM is made of guest cores. Owned ones get pCPUs of their own (`room`), floating ones the shared pool (`pool`): all of a shared
VM, some of a mixed one. Pinned VMs have neither: their pins say where they are.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.core_room import CoreRoom, Keep, Manner
from qsup.plan.guest_topology import Topology
from qsup.plan.housekeeping import first_core, fixed_housekeeping
from qsup.plan.shared_pool import SharedPool

GuestCores = tuple[tuple[int, ...], ...]


@frozen
class CpuFit:
    """`manner` and `room` are there for dedicated and isolated placement.

    `pool` is there always: the others' and, for floating vCPUs, this VM's.
    """

    case: Case
    topology: Topology
    pool: SharedPool
    manner: Manner | None

    @cached_property
    def room(self) -> CoreRoom | None:
        """The pCPUs that the VM may own; counted when they are first asked for."""
        if self.manner is None:
            return None
        room = CoreRoom.of(self.case.host, _barred(self.case), threads=self.topology.threads, manner=self.manner)
        return _with_keeps(self.case, self.pool, room)

    @property
    def floating(self) -> frozenset[int]:
        """The vCPUs that float over the shared pool."""
        cpu = self.case.spec.cpu
        if cpu.placement == "shared":
            return frozenset(range(self.topology.vcpus))
        return cpu.shared_vcpus or frozenset() if self.room is not None else frozenset()

    def owned_cores(self, vcpus: Iterable[int]) -> GuestCores:
        """The guest cores among these vCPUs that get pCPUs of their own (of pinned VMs all)."""
        return self._guest_cores(frozenset(vcpus) - self.floating)

    def floating_cores(self, vcpus: Iterable[int]) -> GuestCores:
        """The guest cores among these vCPUs that float."""
        return self._guest_cores(self.floating.intersection(vcpus))

    def _guest_cores(self, vcpus: frozenset[int]) -> GuestCores:
        if vcpus not in self._cores:
            self._cores[vcpus] = self.topology.guest_cores(vcpus)
        return self._cores[vcpus]

    @cached_property
    def _cores(self) -> dict[frozenset[int], GuestCores]:
        return {}

    def guest_cores(self, node: int) -> int:
        """How many owned guest cores the node takes (of a pinned VM: all of them where pins lie there)."""
        if self.room is not None:
            return self.room.guest_cores(node)
        return self.topology.vcpus if node in self.pinned_nodes else 0

    def floats_on(self, node: int) -> int:
        """How many floating vCPUs the node takes: 0 where the pool has no pCPU, else what the overcommit leaves."""
        if node not in self._floats:
            self._floats[node] = self._floats_counted(node)
        return self._floats[node]

    @cached_property
    def _floats(self) -> dict[int, int]:
        return {}

    def _floats_counted(self, node: int) -> int:
        pcpus = len(self.pool.on((node,))) if self.case.policy.allows(node) else 0
        most = self.case.policy.overcommit
        if most is None or not pcpus:
            return self.topology.vcpus if pcpus else 0
        return max(0, most * pcpus - self.case.others.shared_load.get(node, 0))

    def takes(self, nodes: Iterable[int]) -> bool:
        """Whether these nodes together have room for all vCPUs."""
        everyone = range(self.topology.vcpus)
        places = tuple(nodes)
        owned, floating = len(self.owned_cores(everyone)), len(self.floating)
        return owned <= sum(map(self.guest_cores, places)) and floating <= sum(map(self.floats_on, places))

    @property
    def pinned_nodes(self) -> tuple[int, ...]:
        """The nodes that the explicit pins lie on, those with most vCPUs first; empty without pins."""
        counts: dict[int, int] = {}
        for pin in self.case.spec.cpu.pin or ():
            for node in {self.case.host.node_of[pcpu] for pcpu in pin if pcpu in self.case.host.node_of}:
                counts[node] = counts.get(node, 0) + 1
        return tuple(sorted(counts, key=lambda node: (-counts[node], node)))


def cpu_fits(case: Case, topology: Topology) -> tuple[CpuFit, ...]:
    """The ways to go about it, the strictest first. Order: warnings about SMT are noted here, once."""
    others = case.others
    pool = SharedPool.of(case.host, case.policy, others.exclusive.keys(), others.pinned.keys())
    if not case.owns_pcpus:
        return (CpuFit(case, topology, pool, None),)
    return tuple(CpuFit(case, topology, pool, manner) for manner in _manners(case, topology))


def single_room(case: Case, taken: frozenset[int]) -> CoreRoom:
    """Single pCPUs that this VM may own besides those that it has `taken` for its vCPUs."""
    exclusive = taken | case.others.exclusive.keys()
    pool = SharedPool.of(case.host, case.policy, exclusive, case.others.pinned.keys())
    room = CoreRoom.of(case.host, _barred(case) | taken, threads=1, manner="loose")
    return _with_keeps(case, pool, room)


def _barred(case: Case) -> frozenset[int]:
    """The pCPUs that this VM cannot own."""
    others, policy = case.others, case.policy
    elsewhere = {pcpu for pcpu, node in case.host.node_of.items() if not policy.allows(node)} if policy.host_nodes else ()
    return frozenset(
        {*others.exclusive, *others.pinned, *others.emulators, *fixed_housekeeping(case.host, policy), *elsewhere}
    )


def _manners(case: Case, topology: Topology) -> tuple[Manner, ...]:
    threads, host_threads = topology.threads, case.host.threads
    if case.placement == "isolated":
        _warn_of_isolated_threads(case, threads)
        return ("whole",)
    if threads == 1:
        return ("loose",)
    if case.spec.cpu.smt == "require":
        return ("siblings",)
    return ("siblings", "loose") if threads <= host_threads else ("loose",)


def _warn_of_isolated_threads(case: Case, threads: int) -> None:
    if threads > 1:
        case.notes.warn(
            "plan.isolated-threads",
            f"threads = {threads} with isolated placement: each vCPU gets a whole core, so guest siblings share none",
            hint='set threads = 1, or placement = "dedicated" to put guest siblings on host siblings',
            key="cpu.threads",
        )


def check_guest_smt(case: Case, topology: Topology) -> None:
    """Note that guest siblings cannot lie on host siblings, whatever the placement; refused where they must."""
    threads, host_threads = topology.threads, case.host.threads
    if threads <= host_threads or case.placement == "isolated":
        return
    host = "no SMT" if host_threads == 1 else f"{host_threads} threads a core"
    if case.spec.cpu.smt == "require":
        case.notes.refuse(
            "plan.smt-absent",
            f"threads = {threads} with smt = \"require\", and this host has {host}",
            needed=f"{threads} siblings on one host core",
            available=host,
            hint=f'set threads = {host_threads}, or smt = "prefer"',
        )
        return
    case.notes.warn(
        "plan.smt-absent",
        f"threads = {threads}, and this host has {host}: the guest sees {threads} threads a core, "
        "each vCPU runs on a pCPU of its own choice of cores",
        hint=f"set threads = {host_threads} so that the guest's scheduler knows the truth",
        key="cpu.threads",
    )


def _with_keeps(case: Case, pool: SharedPool, room: CoreRoom) -> CoreRoom:
    """The room under the condition that the pool keeps pCPUs, so that floating vCPUs do not run dry.

    One for each set of nodes where shared VMs run (with overcommit: as many as their vCPUs need there), and one on each node
    for the floating vCPUs of this VM itself. The cheapest to give are set aside.
    """
    rank: Callable[[int], tuple[bool, int, bool, int, int]] | None = None
    kept: set[int] = set()
    keeps: list[Keep] = []
    claims = [(nodes, _pcpus_needed(case, nodes, 0)) for nodes in case.others.shared]
    own = case.spec.cpu.vcpus if case.spec.cpu.placement == "shared" else len(case.spec.cpu.shared_vcpus or ())
    if own:
        claims += [((node,), _pcpus_needed(case, (node,), own)) for node in case.host.node_pcpus if pool.on((node,))]
    for nodes, count in sorted(claims, key=lambda claim: (len(claim[0]), claim)):
        here = pool.open & case.host.pcpus_of(nodes) if case.policy.overcommit is None else pool.on(nodes)
        spots = here or pool.open
        beyond = spots - {pcpu for pcpus in _free_of(room, spots) for pcpu in pcpus}
        missing = count - len(beyond | (spots & kept))
        keeps.append(Keep(spots, min(count, len(spots))))
        if missing > 0:
            rank = rank or _rank_of_kept(case, room)
            kept.update(heapq.nsmallest(missing, spots - kept - beyond, key=rank))
    return room.keeping(tuple(keeps), frozenset(kept)) if kept else room


def _pcpus_needed(case: Case, nodes: tuple[int, ...], more: int) -> int:
    """pCPUs that the floating vCPUs on these nodes need, and `more` of them."""
    most = case.policy.overcommit
    if most is None or len(nodes) > 1:
        return 1
    return max(1, -(-(case.others.shared_load.get(nodes[0], 0) + more) // most))


def _free_of(room: CoreRoom, spots: Iterable[int]) -> Iterable[tuple[int, ...]]:
    cores = {room.host.core_of[pcpu] for pcpu in spots}
    return (left for cores_left in room.free.values() for core, left in cores_left.items() if core in cores)


def _rank_of_kept(case: Case, room: CoreRoom) -> Callable[[int], tuple[bool, int, bool, int, int]]:
    """The order in which pCPUs are kept: the first core, then a broken one, an efficient one, one in a full L3 group."""
    host, first = room.host, first_core(case.host)
    around: Counter[tuple[int, int]] = Counter()
    lefts: dict[int, int] = {}
    for node, cores in room.free.items():
        for core, left in cores.items():
            around[node, host.l3_of_core[core]] += len(left)
            lefts[core] = 1 if room.whole else len(left)

    def rank(pcpu: int) -> tuple[bool, int, bool, int, int]:
        core = host.core_of[pcpu]
        beside = around[host.node_of[pcpu], host.l3_of_core[core]]
        return (pcpu not in first, lefts.get(core, 0), core not in host.efficient_cores, beside, -pcpu)

    return rank
