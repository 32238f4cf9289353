"""[cpu] planned: the pin of every vCPU, after the memory has decided the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from qsup.cpuset import format_cpulist
from qsup.plan.case import Case
from qsup.plan.core_room import CoreRoom
from qsup.plan.cpu_fit import CpuFit
from qsup.plan.guest_topology import Topology
from qsup.plan.layout import Layout
from qsup.plan.memory import bound_nodes
from qsup.plan.memory_refusal import refuse_empty_pool
from qsup.plan.vmplan import VcpuPlan
from qsup.plan.wording import names_text, pcpus_text

Pins = dict[int, frozenset[int]]


@frozen
class CpuPlan:
    """The vCPUs, and the siblings that an isolated VM keeps empty."""

    vcpus: tuple[VcpuPlan, ...]
    emptied: frozenset[int]


def plan_vcpus(case: Case, fit: CpuFit, layout: Layout) -> CpuPlan | None:
    """A pin for every vCPU; None with a reason where one finds no pCPU."""
    pins = _pins(case, fit, layout)
    if pins is None:
        return None
    owner = {vcpu: node for node, share in enumerate(layout.shares) for vcpu in share.vcpus}
    _warn_of_remote(case, layout, pins, owner)
    topology = aligned_topology(case, fit.topology, layout)
    vcpus = tuple(
        VcpuPlan(index, *topology.place_of(index), guest_node=owner[index], pin=pins[index])
        for index in range(topology.vcpus)
    )
    emptied = fit.room.emptied(pcpu for pin in pins.values() for pcpu in pin) if fit.room is not None else frozenset()
    return CpuPlan(vcpus, emptied)


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


def _pins(case: Case, fit: CpuFit, layout: Layout) -> Pins | None:
    if fit.room is not None:
        return _last_pins(case, fit, fit.room, layout) or _owned_pins(case, fit, fit.room, layout)
    if case.spec.cpu.placement == "pinned":
        written = case.spec.cpu.pin or ()
        return dict(enumerate(written)) if len(written) == fit.topology.vcpus else None
    masks = [fit.pool.mask(bound_nodes(case, share)) for share in layout.shares]
    _warn_of_pinned_pool(case, masks)
    if not all(masks):
        for node in sorted(case.host.node_pcpus):
            refuse_empty_pool(case, node)
        return None
    return {vcpu: mask for share, mask in zip(layout.shares, masks, strict=True) for vcpu in share.vcpus}


def _groups(fit: CpuFit, room: CoreRoom, vcpus: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The vCPUs as groups that go on one host core each."""
    return fit.topology.guest_cores(vcpus) if room.group > 1 else tuple((vcpu,) for vcpu in vcpus)


def _last_pins(case: Case, fit: CpuFit, room: CoreRoom, layout: Layout) -> Pins | None:
    """The recorded pins where all of them are still free, on the nodes of the memory, and laid out as asked."""
    recorded = case.record.vcpu_pins if case.record else ()
    if len(recorded) != fit.topology.vcpus or any(len(pin) != 1 for pin in recorded):
        return None
    single = [next(iter(pin)) for pin in recorded]
    if len(set(single)) != len(single):
        return None
    left = room
    for share in layout.shares:
        for group in _groups(fit, room, share.vcpus):
            pcpus = [single[vcpu] for vcpu in group]
            if not left.accepts(pcpus, share.host_nodes):
                return None
            left = left.without(pcpus) if room.whole else left
    return {vcpu: frozenset({pcpu}) for vcpu, pcpu in enumerate(single)}


def _owned_pins(case: Case, fit: CpuFit, room: CoreRoom, layout: Layout) -> Pins | None:
    """Own pCPUs for every vCPU: each guest node on its home nodes first, then (where allowed) on the nearest others."""
    pins: Pins = {}
    strays: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for share in layout.shares:
        groups = list(_groups(fit, room, share.vcpus))
        room = _place(room, groups, share.host_nodes, pins)
        strays.extend((group, share.host_nodes) for group in groups)
    for group, home in strays:
        open_nodes = layout.stray_nodes if case.host.pcpus_of(home) else tuple(case.host.node_pcpus)
        nearest = [node for node in case.host.nearest(home) if node in open_nodes]
        room = _place(room, [group], nearest, pins)
    missing = sorted(set(range(fit.topology.vcpus)) - pins.keys())
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


def _place(room: CoreRoom, groups: list[tuple[int, ...]], nodes: Sequence[int], pins: Pins) -> CoreRoom:
    """Give the first of `groups` pCPUs on `nodes`, in that order; what is placed leaves `groups` and enters `pins`."""
    for node in nodes:
        taken = room.take(node, len(groups))
        for group, pcpus in zip(groups, taken, strict=False):
            pins.update({vcpu: frozenset({pcpu}) for vcpu, pcpu in zip(group, pcpus, strict=False)})
        del groups[: len(taken)]
        room = room.without(pcpu for pcpus in taken for pcpu in pcpus)
    return room


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
