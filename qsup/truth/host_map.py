"""host_map: the machine with everybody in their seats, as `qsup topology` and `qsup plan` show it.

Strategy: a pCPU has one *use*. Shared VMs float over many pCPUs and may be many, so they stand once per mask (`Floating`) and
each pCPU refers to them by position. Nothing is decided here: seats come from the plans that the ledger holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import frozen

from qsup.cpuset import format_cpulist
from qsup.natural import natural
from qsup.plan.host_facts import HostFacts, HostNodeFacts, PcpuFacts
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.ledger import Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan

Use = Literal["offline", "owned", "support", "emptied", "pinned", "pool", "housekeeping", "free"]


@frozen
class SeatMap:
    """One vCPU that sits on a pCPU."""

    vm: str
    vcpu_index: int


@frozen
class PcpuMap:
    """One pCPU and what it is used for.

    `use`: "owned" by vCPUs that have it alone, "support": kept for other threads of one VM (its emulator, iothreads, vhost
    workers), "emptied" for one (`vms` names it), "pinned" explicitly, "pool" (shared vCPUs float here), "housekeeping",
    "free", "offline". `floating` are positions in `HostMap.floating`. `marks` are "isolated", "nohz_full", and the core type
    where the host has several.
    """

    pcpu: int
    use: Use
    vms: tuple[str, ...] = ()
    seats: tuple[SeatMap, ...] = ()
    floating: tuple[int, ...] = ()
    marks: tuple[str, ...] = ()


@frozen
class CoreMap:
    """One core with its pCPUs, offline ones among them."""

    core: int
    max_khz: int | None
    pcpus: tuple[PcpuMap, ...]


@frozen
class CacheMap:
    """The cores that share an L3 cache; `l3` None: the kernel tells of none. `socket` and `die` are those of its cores."""

    l3: int | None
    socket: int
    die: int
    cores: tuple[CoreMap, ...]


@frozen
class PoolMap:
    """A hugepage pool, in pages.

    `held` are for VMs, which have yet to take `due` of them; `foreign`: in use, and by none of them.
    """

    page_size_bytes: int
    total: int
    free: int
    reserved: int
    surplus: int
    held: int
    due: int
    foreign: int


@frozen
class GuestMemoryMap:
    """What one VM takes of a host node: pages of one size, and beside those of its largest size all of its base pages."""

    vm: str
    page_size_bytes: int
    pages: int
    base_bytes: int


@frozen
class NodeMap:
    """One host node. `distances` has one entry a node, in the order of `HostMap.nodes`.

    `memory_due_bytes` of what is free is promised to VMs that have yet to take it.
    """

    host_node: int
    distances: tuple[int, ...]
    memory_total_bytes: int
    memory_free_bytes: int
    memory_due_bytes: int
    pools: tuple[PoolMap, ...]
    guests: tuple[GuestMemoryMap, ...]
    caches: tuple[CacheMap, ...]


@frozen
class Floating:
    """VMs whose vCPUs float over one set of pCPUs."""

    pcpus: str
    vms: tuple[str, ...]
    vcpus: int


@frozen
class HostMap:
    """The machine. `threads` is the most that a core has online; `housekeeping` a cpulist."""

    pcpus: int
    online: int
    cores: int
    threads: int
    housekeeping: str
    vms: tuple[str, ...]
    nodes: tuple[NodeMap, ...]
    floating: tuple[Floating, ...] = ()


def map_of(facts: HostFacts, policy: HostPolicy, ledger: Ledger) -> HostMap:
    """The machine with all VMs of the ledger in their seats."""
    plans = [ledger.holdings[name].plan for name in sorted(ledger.holdings, key=natural)]
    floating = _floating(plans)
    seats = _Seats(facts, policy, plans, floating)
    return HostMap(
        pcpus=len(facts.pcpus),
        online=len(facts.index.online),
        cores=len(facts.index.cores),
        threads=facts.index.threads,
        housekeeping=format_cpulist(seats.housekeeping),
        vms=tuple(plan.name for plan in plans),
        nodes=tuple(_node(facts, node, ledger, plans, seats) for node in facts.nodes),
        floating=tuple(Floating(format_cpulist(mask), names, vcpus) for mask, (names, vcpus) in floating.items()),
    )


def _floating(plans: Iterable[VmPlan]) -> dict[frozenset[int], tuple[tuple[str, ...], int]]:
    """Mask → names and number of vCPUs, in the order of the lowest pCPUs."""
    masks: dict[frozenset[int], tuple[tuple[str, ...], int]] = {}
    for plan in plans:
        for vcpu in plan.vcpus:
            if vcpu.vcpu_index not in plan.floating:
                continue
            names, count = masks.get(vcpu.pin, ((), 0))
            masks[vcpu.pin] = (names if plan.name in names else (*names, plan.name), count + 1)
    return dict(sorted(masks.items(), key=lambda item: sorted(item[0])))


class _Seats:
    """Who sits on which pCPU; looked up once a pCPU."""

    def __init__(
        self,
        facts: HostFacts,
        policy: HostPolicy,
        plans: Iterable[VmPlan],
        masks: Iterable[frozenset[int]],
    ) -> None:
        self.housekeeping = fixed_housekeeping(facts.index, policy)
        self._typed = len({pcpu.core_type for pcpu in facts.pcpus if pcpu.online}) > 1
        self._seats: dict[int, list[SeatMap]] = {}
        self._placements: dict[int, set[str]] = {}
        self._emptied: dict[int, list[str]] = {}
        self._support: dict[int, list[str]] = {}
        for plan in plans:
            self._sit(plan)
        self._floating: dict[int, list[int]] = {}
        for position, mask in enumerate(masks):
            for pcpu in mask:
                self._floating.setdefault(pcpu, []).append(position)

    def _sit(self, plan: VmPlan) -> None:
        for pcpu in plan.emptied:
            self._emptied.setdefault(pcpu, []).append(plan.name)
        for pcpu in plan.support_pcpus:
            self._support.setdefault(pcpu, []).append(plan.name)
        for vcpu in plan.vcpus:
            for pcpu in vcpu.pin if vcpu.vcpu_index not in plan.floating else ():
                self._seats.setdefault(pcpu, []).append(SeatMap(plan.name, vcpu.vcpu_index))
                self._placements.setdefault(pcpu, set()).add(plan.placement)

    def on(self, facts: PcpuFacts) -> PcpuMap:
        """This pCPU with who sits there."""
        seats = tuple(self._seats.get(facts.pcpu, ()))
        kept = (*self._support.get(facts.pcpu, ()), *self._emptied.get(facts.pcpu, ()))
        names = dict.fromkeys([*(seat.vm for seat in seats), *kept])
        floating = tuple(self._floating.get(facts.pcpu, ()))
        return PcpuMap(facts.pcpu, self._use(facts, floating), tuple(names), seats, floating, self._marks(facts))

    def _use(self, facts: PcpuFacts, floating: tuple[int, ...]) -> Use:
        placements = self._placements.get(facts.pcpu, set())
        uses: tuple[tuple[object, Use], ...] = (
            (not facts.online, "offline"),
            (placements & {"dedicated", "isolated"}, "owned"),
            (facts.pcpu in self._support, "support"),
            (facts.pcpu in self._emptied, "emptied"),
            (placements, "pinned"),
            (facts.pcpu in self.housekeeping, "housekeeping"),
            (floating, "pool"),
        )
        return next((use for holds, use in uses if holds), "free")

    def _marks(self, facts: PcpuFacts) -> tuple[str, ...]:
        marks = (
            (facts.isolated, "isolated"),
            (facts.nohz_full, "nohz_full"),
            (self._typed and facts.online, facts.core_type or "unknown type"),
        )
        return tuple(mark for holds, mark in marks if holds)


def _node(facts: HostFacts, node: HostNodeFacts, ledger: Ledger, plans: Iterable[VmPlan], seats: _Seats) -> NodeMap:
    guests = tuple(guest for plan in plans for guest in _guests_of(plan, node.host_node))
    return NodeMap(
        host_node=node.host_node,
        distances=tuple(facts.index.distance(node.host_node, other.host_node) for other in facts.nodes),
        memory_total_bytes=node.memory_total_bytes,
        memory_free_bytes=node.memory_free_bytes,
        memory_due_bytes=ledger.index.base_due.get(node.host_node, 0),
        pools=tuple(_pools(node, ledger, guests)),
        guests=guests,
        caches=tuple(_caches([pcpu for pcpu in facts.pcpus if pcpu.host_node == node.host_node], seats)),
    )


def _guests_of(plan: VmPlan, host_node: int) -> Iterable[GuestMemoryMap]:
    """One for each size of pages that it takes there, the first with all base pages: the guest nodes of the VM together."""
    base_bytes = sum(size for guest in plan.guest_nodes for node, size in guest.base_bytes if node == host_node)
    counts: dict[int, int] = {}
    for guest in plan.guest_nodes:
        for node, count in guest.pages:
            if node == host_node and count:
                counts[guest.page_size_bytes] = counts.get(guest.page_size_bytes, 0) + count
    if not counts and base_bytes:
        yield GuestMemoryMap(plan.name, plan.guest_nodes[0].page_size_bytes, 0, base_bytes)
    for at, (page_size_bytes, pages) in enumerate(sorted(counts.items(), reverse=True)):
        yield GuestMemoryMap(plan.name, page_size_bytes, pages, 0 if at else base_bytes)


def _pools(node: HostNodeFacts, ledger: Ledger, guests: Iterable[GuestMemoryMap]) -> Iterable[PoolMap]:
    for pool in node.pools:
        held = sum(guest.pages for guest in guests if guest.page_size_bytes == pool.page_size_bytes)
        key = (node.host_node, pool.page_size_bytes)
        due = ledger.index.pages_due.get(key, 0)
        foreign = max(0, pool.total - pool.free - (held - due))
        yield PoolMap(pool.page_size_bytes, pool.total, pool.free, pool.reserved, pool.surplus, held, due, foreign)


def _caches(pcpus: list[PcpuFacts], seats: _Seats) -> Iterable[CacheMap]:
    groups: dict[tuple[int | None, int, int], dict[int, list[PcpuFacts]]] = {}
    for pcpu in pcpus:
        groups.setdefault((pcpu.l3, pcpu.socket, pcpu.die), {}).setdefault(pcpu.core, []).append(pcpu)
    for (l3, socket, die), cores in sorted(groups.items(), key=_cache_order):
        yield CacheMap(l3, socket, die, tuple(_core(core, members, seats) for core, members in sorted(cores.items())))


def _cache_order(item: tuple[tuple[int | None, int, int], Mapping[int, list[PcpuFacts]]]) -> tuple[bool, int, int, int]:
    (l3, socket, die), _ = item
    return (l3 is None, -1 if l3 is None else l3, socket, die)


def _core(core: int, members: list[PcpuFacts], seats: _Seats) -> CoreMap:
    return CoreMap(core, members[0].max_khz, tuple(seats.on(pcpu) for pcpu in members))
