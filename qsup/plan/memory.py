"""[memory] planned: guest nodes, host nodes, pages and growth. Memory decides the host node; vCPUs follow."""

from __future__ import annotations

from typing import Literal

from qsup.bytesize import format_byte_size
from qsup.plan.case import Case
from qsup.plan.cpu_fit import CpuFit
from qsup.plan.guest_nodes import written_layout
from qsup.plan.layout import Layout, Share
from qsup.plan.memory_refusal import explain_no_layout
from qsup.plan.memory_room import MemoryRoom
from qsup.plan.memory_search import MemorySearch
from qsup.plan.vmplan import GuestNodePlan, PoolGrowth
from qsup.spec.memory import MemorySpec, hugepages_by_size, node_hugepages

_LOCAL = 10
_NEAREST_OTHER = 11  # Linux' slit_valid() (drivers/acpi/numa/srat.c) drops a table with 10 or less off its diagonal


def plan_memory(case: Case, fit: CpuFit, overhead_bytes: int) -> Layout | None:
    """The layout of the guest's memory over host nodes; None with all reasons noted."""
    room = MemoryRoom.of(case)
    if not _well_formed(case):
        return None
    search = MemorySearch(case, fit, room, overhead_bytes, _allowed(case), case.spec.memory.host_nodes is not None)
    if case.spec.memory.nodes is not None:
        return written_layout(search, case.spec.memory.nodes)
    layout = search.found()
    if layout is None:
        explain_no_layout(search)
    return layout


def _allowed(case: Case) -> tuple[int, ...]:
    """The host nodes that may give memory, ascending."""
    asked = case.spec.memory.host_nodes
    nodes = (node.host_node for node in case.facts.nodes if node.memory_total_bytes > 0)
    return tuple(node for node in nodes if (asked is None or node in asked) and case.policy.allows(node))


def _well_formed(case: Case) -> bool:
    before = len(case.notes.reasons)
    _check_host_nodes(case)
    _check_allowed_nodes(case)
    _check_page_size(case)
    _check_binding(case)
    if not any(node.memory_total_bytes for node in case.facts.nodes):
        case.notes.refuse("plan.no-memory-node", "the host names no node with memory", hint="report `qsup topology`")
    return len(case.notes.reasons) == before


def _check_host_nodes(case: Case) -> None:
    spec = case.spec.memory
    written = [spec.host_nodes or frozenset(), *(node.host_nodes or frozenset() for node in spec.nodes or ())]
    known = {node.host_node: node.memory_total_bytes for node in case.facts.nodes}
    for node in sorted(frozenset().union(*written)):
        if node not in known:
            case.notes.refuse(
                "plan.host-node-absent",
                f"host node {node} does not exist",
                needed=f"host node {node}",
                available=f"host nodes {', '.join(map(str, known))}",
                hint="correct host_nodes in [memory]; `qsup topology` shows what there is",
            )
        elif not known[node]:
            case.notes.refuse(
                "plan.host-node-empty",
                f"host node {node} has no memory",
                host_node=node,
                needed="a host node with memory",
                available=f"host nodes {', '.join(str(other) for other, size in known.items() if size) or 'none'}",
                hint="correct host_nodes in [memory]; `qsup topology` shows what there is",
            )


def _check_allowed_nodes(case: Case) -> None:
    """The settings keep VMs off some nodes; at least one with memory must be left."""
    spec, allows = case.spec.memory, case.policy.allows
    written = [spec.host_nodes or frozenset(), *(node.host_nodes or frozenset() for node in spec.nodes or ())]
    barred = sorted(node for node in frozenset[int]().union(*written) if not allows(node))
    allowed = ", ".join(str(node.host_node) for node in case.facts.nodes if allows(node.host_node)) or "none"
    with_memory = [node.host_node for node in case.facts.nodes if node.memory_total_bytes]
    if barred:
        case.notes.refuse(
            "plan.host-node-barred",
            f"host node {', '.join(map(str, barred))} is not among those that VMs may be placed on",
            needed=f"host node {', '.join(map(str, barred))}",
            available=f"host nodes {allowed}",
            hint="name other host nodes, or add it to place.host_nodes in the settings",
        )
    elif not any(allows(node) for node in with_memory) and with_memory:
        case.notes.refuse(
            "plan.no-node-allowed",
            "none of the host nodes that VMs may be placed on exists and has memory",
            available=f"host nodes {allowed}",
            hint="correct place.host_nodes in the settings",
        )


def _check_page_size(case: Case) -> None:
    spec = case.spec.memory
    for size_bytes, hugepages in _sizes_in_pages(spec):
        page = hugepages or case.facts.page_size_bytes
        if size_bytes <= 0 or size_bytes % page:
            case.notes.refuse(
                "plan.memory-not-in-pages",
                f"{format_byte_size(max(0, size_bytes))} is not a whole number of {format_byte_size(page)} pages",
                needed=f"a multiple of {format_byte_size(page)}",
                hint="choose a size that the page size divides",
            )
    have = sorted({pool.page_size_bytes for node in case.facts.nodes for pool in node.pools})
    for absent in (size for size in hugepages_by_size(spec) if size is not None and size not in have):
        case.notes.refuse(
            "plan.hugepage-size-absent",
            f"this host has no hugepages of {format_byte_size(absent)}",
            needed=f"pages of {format_byte_size(absent)}",
            available=f"pages of {' and '.join(map(format_byte_size, have))}" if have else "no hugepages",
            hint=f"{'ask for a size that the host has, or ' if have else ''}leave memory.hugepages out, or add the size on the "
            f"kernel's command line (hugepagesz={format_byte_size(absent)[:-2]})",
        )


def _sizes_in_pages(spec: MemorySpec) -> list[tuple[int, int | None]]:
    """Each size with the hugepages that it must be a whole number of (None: base pages)."""
    if not spec.nodes:
        return [(spec.size_bytes, spec.hugepages_bytes)]
    smallest = min(hugepages_by_size(spec), key=lambda size: size or 0)
    return [(spec.size_bytes, smallest), *((node.size_bytes, node_hugepages(spec, node)) for node in spec.nodes)]


def _check_binding(case: Case) -> None:
    spec = case.spec.memory
    if case.facts.may_bind_memory:
        return
    if spec.host_nodes or any(node.host_nodes for node in spec.nodes or ()):
        case.notes.refuse(
            "plan.binding-not-permitted",
            "memory cannot be bound to host nodes here: the kernel has no NUMA or forbids mbind",
            hint="leave host_nodes out, or give the daemon CAP_SYS_NICE",
        )
    elif len(case.facts.nodes) > 1:
        case.notes.warn(
            "plan.memory-unbound",
            "memory is not bound to host nodes: the kernel has no NUMA or forbids mbind",
            hint="give the daemon CAP_SYS_NICE",
            key="memory",
        )


def guest_node_plans(case: Case, layout: Layout) -> tuple[GuestNodePlan, ...]:
    """The guest nodes as argv and host need them, position = guest node."""
    return tuple(_guest_node(case, layout, position) for position in range(len(layout.shares)))


def _guest_node(case: Case, layout: Layout, position: int) -> GuestNodePlan:
    spec = case.spec.memory
    share = layout.shares[position]
    page = _hugepages_of(spec, position)
    bound = bound_nodes(case, share)
    return GuestNodePlan(
        guest_node=position,
        vcpus=share.vcpus,
        size_bytes=share.size_bytes,
        host_nodes=bound,
        policy=_policy(case, bound),
        page_size_bytes=page or case.facts.page_size_bytes,
        hugepages=page is not None,
        prealloc=spec.prealloc if spec.prealloc is not None else page is not None,
        distances=tuple(_distance(case, layout, position, other) for other in range(len(layout.shares))),
        pages=tuple((node, size // page) for node, size in share.memory if size) if page else (),
        prealloc_pcpus=_prealloc_pcpus(case, share),
        base_bytes=_base_bytes(share, hugepages=page is not None),
    )


def bound_nodes(case: Case, share: Share) -> tuple[int, ...]:
    """The host nodes that the memory is bound to; with "preferred" the first alone, though others may have to give."""
    if not case.facts.may_bind_memory:
        return ()
    if case.spec.memory.policy == "preferred":
        return (share.memory[0][0],)
    return share.host_nodes


def _policy(case: Case, bound: tuple[int, ...]) -> Literal["default", "bind", "preferred", "interleave"]:
    return case.spec.memory.policy if bound else "default"


def _distance(case: Case, layout: Layout, one: int, other: int) -> int:
    if one == other:
        return _LOCAL
    here, there = layout.shares[one].host_nodes[0], layout.shares[other].host_nodes[0]
    return max(_NEAREST_OTHER, case.host.distance(here, there))


def _prealloc_pcpus(case: Case, share: Share) -> frozenset[int]:
    """The nodes' pCPUs less those of other VMs; nodes without pCPUs borrow from the nearest."""
    local = case.host.pcpus_of(share.host_nodes)
    if not local:
        local = case.host.pcpus_of(case.host.nearest(share.host_nodes)[:1])
    return local - case.others.exclusive.keys() or local


def _base_bytes(share: Share, *, hugepages: bool) -> tuple[tuple[int, int], ...]:
    amounts = dict(share.overhead)
    if not hugepages:
        for node, size in share.memory:
            amounts[node] = amounts.get(node, 0) + size
    return tuple((node, size) for node, size in sorted(amounts.items()) if size)


def _hugepages_of(spec: MemorySpec, position: int) -> int | None:
    """The hugepages of the guest node at this position; None for base pages."""
    return node_hugepages(spec, spec.nodes[position]) if spec.nodes else spec.hugepages_bytes


def pool_growth(case: Case, layout: Layout) -> tuple[PoolGrowth, ...]:
    """By how many pages each pool of each host node must grow before the launch."""
    counts: dict[tuple[int, int], int] = {}
    for position, share in enumerate(layout.shares):
        page = _hugepages_of(case.spec.memory, position)
        for node, count in share.growth if page else ():
            counts[node, page or 0] = counts.get((node, page or 0), 0) + count
    return tuple(PoolGrowth(node, page, count) for (node, page), count in sorted(counts.items()))
