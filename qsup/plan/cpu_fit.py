"""CpuFit: where the vCPUs of this VM can go, asked by the memory search ("how many guest cores does this node take?").

One class per way of placement, all with the same three questions: `guest_cores(node)`, `shortage(...)` for a refusal and,
in cpu.py, the pins themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.core_room import CoreRoom
from qsup.plan.guest_topology import Topology
from qsup.plan.housekeeping import first_core, fixed_housekeeping
from qsup.plan.shared_pool import SharedPool


@frozen
class CpuFit:
    """`room` is there for dedicated and isolated placement, `pool` always (the others' and, for shared, this VM's)."""

    case: Case
    topology: Topology
    pool: SharedPool
    room: CoreRoom | None

    @staticmethod
    def of(case: Case, topology: Topology) -> CpuFit:
        """What the host has for this VM's vCPUs. Order: warnings about SMT are noted here, once."""
        others = case.others
        pool = SharedPool.of(case.host, case.policy, others.exclusive.keys(), others.pinned.keys())
        if case.spec.cpu.placement not in ("dedicated", "isolated"):
            return CpuFit(case, topology, pool, None)
        barred = {*others.exclusive, *others.pinned, *others.emulators, *fixed_housekeeping(case.host, case.policy)}
        whole = case.spec.cpu.placement == "isolated"
        room = CoreRoom.of(case.host, barred, group=_group_size(case, topology), whole=whole)
        return CpuFit(case, topology, pool, room.without(_kept_for_shared(case, pool, room)))

    @property
    def groups_per_core(self) -> int:
        """How many host cores (or single pCPUs) one guest core needs."""
        return 1 if self.room is None or self.room.group > 1 else self.topology.threads

    def guest_cores(self, node: int) -> int:
        """How many guest cores the node takes: 0 where it has no pCPU for them, the whole VM where they float."""
        if self.room is not None:
            return self.room.groups(node) // self.groups_per_core
        if self.case.spec.cpu.placement == "shared":
            return self.topology.vcpus if self.pool.on((node,)) else 0
        return self.topology.vcpus if node in self.pinned_nodes else 0

    @property
    def pinned_nodes(self) -> tuple[int, ...]:
        """The nodes that the explicit pins lie on, those with most vCPUs first; empty without pins."""
        counts: dict[int, int] = {}
        for pin in self.case.spec.cpu.pin or ():
            for node in {self.case.host.node_of[pcpu] for pcpu in pin if pcpu in self.case.host.node_of}:
                counts[node] = counts.get(node, 0) + 1
        return tuple(sorted(counts, key=lambda node: (-counts[node], node)))


def _group_size(case: Case, topology: Topology) -> int:
    """How many vCPUs share a host core: the guest's threads, where the host's cores have as many."""
    threads, host_threads = topology.threads, case.host.threads
    if threads == 1:
        return 1
    if case.spec.cpu.placement == "isolated":
        case.notes.warn(
            "plan.isolated-threads",
            f"threads = {threads} with isolated placement: each vCPU gets a whole core, so guest siblings share none",
            hint='set threads = 1, or placement = "dedicated" to put guest siblings on host siblings',
            key="cpu.threads",
        )
        return 1
    return threads if threads <= host_threads else 1


def warn_of_missing_smt(case: Case, topology: Topology) -> None:
    """Note that guest siblings cannot lie on host siblings, whatever the placement."""
    threads, host_threads = topology.threads, case.host.threads
    if threads <= host_threads or case.spec.cpu.placement == "isolated":
        return
    host = "no SMT" if host_threads == 1 else f"{host_threads} threads a core"
    case.notes.warn(
        "plan.smt-absent",
        f"threads = {threads}, and this host has {host}: the guest sees {threads} threads a core, "
        "each vCPU runs on a pCPU of its own choice of cores",
        hint=f"set threads = {host_threads} so that the guest's scheduler knows the truth",
        key="cpu.threads",
    )


def _kept_for_shared(case: Case, pool: SharedPool, room: CoreRoom) -> frozenset[int]:
    """One pCPU for each set of nodes where shared VMs run, so that their pool does not run dry; the cheapest to give."""
    kept: set[int] = set()
    first = first_core(case.host)
    for nodes in sorted(case.others.shared, key=lambda nodes: (len(nodes), nodes)):
        spots = pool.open & case.host.pcpus_of(nodes) or pool.open
        beyond = spots - {pcpu for pcpus in _free_of(room, spots) for pcpu in pcpus}
        if not beyond and spots and not spots & kept:
            kept.add(min(spots, key=lambda pcpu: (pcpu not in first, *_cost(room, pcpu))))
    return frozenset(kept)


def _free_of(room: CoreRoom, spots: Iterable[int]) -> Iterable[tuple[int, ...]]:
    cores = {room.host.core_of[pcpu] for pcpu in spots}
    return (left for cores_left in room.free.values() for core, left in cores_left.items() if core in cores)


def _cost(room: CoreRoom, pcpu: int) -> tuple[int, bool, int]:
    """What a dedicated VM loses when the pCPU is kept: little on a broken core, less on an efficient one."""
    core = room.host.core_of[pcpu]
    left = room.free[room.host.node_of[pcpu]].get(core, ())
    return (len(left), core not in room.host.efficient_cores, -pcpu)
