"""[cpu] planned: the pin of every vCPU, after the memory has decided the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from qsup.cpuset import format_cpulist
from qsup.plan.case import Case
from qsup.plan.core_choice import seat_on
from qsup.plan.core_room import CoreRoom
from qsup.plan.cpu_fit import CpuFit
from qsup.plan.guest_topology import Topology
from qsup.plan.layout import Layout
from qsup.plan.memory import bound_nodes
from qsup.plan.memory_refusal import refuse_empty_pool
from qsup.plan.own_support import OwnSupport, own_support
from qsup.plan.shared_pool import SharedPool
from qsup.plan.vmplan import VcpuPlan
from qsup.plan.wording import names_text, pcpus_text

Pins = dict[int, frozenset[int]]


@frozen
class CpuPlan:
    """The vCPUs, the siblings that an isolated VM keeps empty, and what its other threads have for themselves."""

    vcpus: tuple[VcpuPlan, ...]
    emptied: frozenset[int]
    own_support: OwnSupport
    owned: frozenset[int]

    @property
    def exclusive(self) -> frozenset[int]:
        """All that the VM takes for itself."""
        return self.owned | self.emptied | self.own_support.pcpus


def plan_vcpus(case: Case, fit: CpuFit, layout: Layout) -> CpuPlan | None:
    """A pin for every vCPU; None with a reason where one finds no pCPU."""
    owned = _owned(case, fit, layout)
    if owned is None:
        return None
    own = frozenset[int]().union(*owned.values()) if fit.room is not None else frozenset[int]()
    emptied = fit.room.emptied(own) if fit.room is not None else frozenset[int]()
    reasons = len(case.notes.reasons)
    written = case.spec.cpu.emulator if isinstance(case.spec.cpu.emulator, frozenset) else frozenset[int]()
    support = own_support(case, layout, emptied.union(written, *owned.values()))
    floating = _floating_pins(case, fit, layout, own | emptied | support.pcpus)
    if floating is None or len(case.notes.reasons) > reasons:
        return None
    pins = {**owned, **floating}
    owner = {vcpu: node for node, share in enumerate(layout.shares) for vcpu in share.vcpus}
    _warn_of_remote(case, layout, pins, owner)
    _warn_of_split(case, fit, owned)
    topology = aligned_topology(case, fit.topology, layout)
    vcpus = tuple(
        VcpuPlan(index, *topology.place_of(index), guest_node=owner[index], pin=pins[index])
        for index in range(topology.vcpus)
    )
    return CpuPlan(vcpus, emptied, support, own)


def aligned_topology(case: Case, topology: Topology, layout: Layout) -> Topology:
    """One socket a guest node where the file leaves sockets and cores open and the nodes are alike; else as it is."""
    nodes = len(layout.shares)
    size = topology.vcpus // nodes
    alike = all(
        share.vcpus == tuple(range(node * size, (node + 1) * size)) for node, share in enumerate(layout.shares)
    )
    if case.spec.cpu.sockets is not None or case.spec.cpu.cores is not None or not alike or size % topology.threads:
        return topology
    return Topology(nodes, size // topology.threads, topology.threads)


def _owned(case: Case, fit: CpuFit, layout: Layout) -> Pins | None:
    """The pins of the vCPUs that do not float."""
    if case.spec.cpu.placement == "pinned":
        written = case.spec.cpu.pin or ()
        return dict(enumerate(written)) if len(written) == fit.topology.vcpus else None
    if fit.room is None:
        return {}
    return _last_pins(case, fit, fit.room, layout) or _owned_pins(case, fit, fit.room, layout)


def _floating_pins(case: Case, fit: CpuFit, layout: Layout, own: frozenset[int]) -> Pins | None:
    """The pool's mask for each guest node's floating vCPUs; without the pCPUs that this VM takes for itself."""
    if not fit.floating:
        return {}
    pool = SharedPool.of(case.host, case.policy, own | case.others.exclusive.keys(), case.others.pinned.keys())
    masks = [pool.mask(bound_nodes(case, share)) for share in layout.shares]
    _warn_of_pinned_pool(case, masks)
    if not all(masks):
        for node in sorted(case.host.node_pcpus):
            refuse_empty_pool(case, node)
        return None
    pairs = zip(layout.shares, masks, strict=True)
    return {vcpu: mask for share, mask in pairs for vcpu in share.vcpus if vcpu in fit.floating}


def _last_pins(case: Case, fit: CpuFit, room: CoreRoom, layout: Layout) -> Pins | None:
    """The recorded pins where all of them are still free, on the nodes of the memory, and laid out as asked."""
    recorded = case.record.vcpu_pins if case.record else ()
    if not recorded:
        return None
    everyone = [vcpu for share in layout.shares for core in fit.owned_cores(share.vcpus) for vcpu in core]
    if len(recorded) != fit.topology.vcpus or any(len(recorded[vcpu]) != 1 for vcpu in everyone):
        return None
    single = {vcpu: next(iter(recorded[vcpu])) for vcpu in everyone}
    if len(set(single.values())) != len(single):
        return None
    left = room
    for share in layout.shares:
        for core in fit.owned_cores(share.vcpus):
            pcpus = [single[vcpu] for vcpu in core]
            if not left.accepts(pcpus, share.host_nodes):
                return None
            left = left.without(pcpus) if room.whole else left
    if not room.keeps_beside(single.values()):
        return None
    return {vcpu: frozenset({pcpu}) for vcpu, pcpu in single.items()}


def _owned_pins(case: Case, fit: CpuFit, room: CoreRoom, layout: Layout) -> Pins | None:
    """Own pCPUs for every owned vCPU: each guest node on its home nodes first, then (where allowed) on the nearest others."""
    pins: Pins = {}
    strays: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    spread = case.policy.strategy == "spread"
    for share in layout.shares:
        cores = list(fit.owned_cores(share.vcpus))
        room = _place(room, cores, [node for node, amount in share.memory if amount], pins, spread)
        strays.extend((core, share.host_nodes) for core in cores)
    for core, home in strays:
        open_nodes = layout.stray_nodes if case.host.pcpus_of(home) else tuple(case.host.node_pcpus)
        nearest = [node for node in case.host.nearest(home) if node in open_nodes]
        room = _place(room, [core], nearest, pins, spread)
    missing = sorted({vcpu for share in layout.shares for core in fit.owned_cores(share.vcpus) for vcpu in core} - pins.keys())
    if not missing:
        return pins
    case.notes.refuse(
        "plan.vcpus-without-pcpu",
        f"the vCPUs {format_cpulist(missing)} find no pCPUs of their own beside their memory",
        needed=f"{len(missing)} pCPUs",
        available="0 pCPUs",
        hint="ask for fewer vCPUs, or leave host_nodes out",
    )
    return None


def _place(room: CoreRoom, cores: list[tuple[int, ...]], nodes: Sequence[int], pins: Pins, spread: bool) -> CoreRoom:
    """Give the first of the guest cores pCPUs on `nodes`, in that order; what is placed leaves `cores` and enters `pins`."""
    for node in nodes:
        _, seat = seat_on(room, node, len(cores), spread=spread)
        for core, pcpus in zip(cores, seat, strict=False):
            pins.update({vcpu: frozenset({pcpu}) for vcpu, pcpu in zip(core, pcpus, strict=True)})
        del cores[: len(seat)]
        room = room.without(pcpu for pcpus in seat for pcpu in pcpus)
    return room


def _warn_of_split(case: Case, fit: CpuFit, pins: Pins) -> None:
    """Guest siblings that could lie on host siblings, and find none that are free."""
    if fit.room is None:
        return
    cores = fit.owned_cores(pins)
    split = [core for core in cores if len({case.host.core_of[pcpu] for vcpu in core for pcpu in pins[vcpu]}) > 1]
    if split and case.placement == "dedicated" and fit.topology.threads <= case.host.threads:
        vcpus = format_cpulist(vcpu for core in split for vcpu in core)
        case.notes.warn(
            "plan.siblings-split",
            f"no free siblings are left for the guest cores of the vCPUs {vcpus}: their threads run on different host cores",
            hint='stop a VM that holds siblings, or set smt = "require" to be refused instead',
            key="cpu.smt",
        )


def _warn_of_remote(case: Case, layout: Layout, pins: Pins, owner: Mapping[int, int]) -> None:
    if len(case.facts.nodes) < 2 or not case.facts.may_bind_memory:
        return
    local = [case.host.pcpus_of(share.host_nodes) for share in layout.shares]
    remote = [vcpu for vcpu, pin in pins.items() if not pin <= local[owner[vcpu]]]
    if remote:
        case.notes.warn(
            "plan.vcpus-remote",
            f"vCPUs {format_cpulist(remote)} run on other host nodes than their memory: every access crosses nodes",
            hint="make room on one node, or name guest nodes with their host_nodes",
            key="cpu",
        )


def _warn_of_pinned_pool(case: Case, masks: Sequence[frozenset[int]]) -> None:
    carried = frozenset().union(*masks) & case.others.pinned.keys()
    if carried:
        names = sorted({name for pcpu in carried for name in case.others.pinned[pcpu]})
        case.notes.warn(
            "plan.shared-over-pins",
            f"the shared pool has no pCPU without explicit pins here: {pcpus_text(carried)}, shared with {names_text(names)}",
            hint="pin those VMs to fewer pCPUs",
            key="cpu.placement",
        )
