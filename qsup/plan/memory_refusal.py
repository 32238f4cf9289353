"""Why the memory or the vCPUs do not fit: one reason per host node and constraint, with who holds the rest."""

from __future__ import annotations

from qsup.bytesize import format_byte_size
from qsup.plan.case import Case
from qsup.plan.holders import base_holders, floaters, page_holders, pcpu_holders, pool_of, ways_text
from qsup.plan.host_facts import PoolFacts
from qsup.plan.memory_room import NodeRoom
from qsup.plan.memory_search import MemorySearch
from qsup.plan.wording import left_text, needed_text


def explain_no_layout(search: MemorySearch) -> None:
    """Note every node's shortage of memory and of pCPUs; at least one reason in any case."""
    if search.case.notes.brief:
        search.case.notes.refuse("plan.no-room", "the host has no room for the VM", hint="ask for the reasons")
        return
    before = len(search.case.notes.reasons)
    if _memory_short(search):
        for node in search.allowed:
            _explain_memory(search, node)
    if search.cores_short():
        for node in search.cpu_nodes():
            _explain_pcpus(search, node)
    if len(search.case.notes.reasons) == before:
        _explain_combination(search)


def _memory_short(search: MemorySearch) -> bool:
    part = search.overhead_bytes // max(1, len(search.allowed))
    room = sum(search.room.capacities(search.allowed, part)) * search.room.unit_bytes
    return room < search.case.spec.memory.size_bytes


def _explain_memory(search: MemorySearch, node: int) -> None:
    case, room = search.case, search.room.nodes[node]
    size = case.spec.memory.size_bytes
    overhead = needed_text(search.overhead_bytes)
    base = f"{left_text(room.base_bytes)} in base pages"
    if not room.hugepages:
        held_by = base_holders(case, node)
        case.notes.refuse(
            "plan.memory-short",
            f"host node {node} has {base} after its reserve and promises; the VM needs {format_byte_size(size)} "
            f"and {overhead} for QEMU itself",
            needed=f"{format_byte_size(size)} + {overhead} overhead",
            available=base,
            host_node=node,
            held_by=held_by,
            hint=ways_text(case, held_by, "make memory.size smaller"),
        )
        return
    if room.base_bytes < search.overhead_bytes:
        _explain_overhead(search, node)
        if _pages_suffice(search, room):
            return
    page = format_byte_size(room.page_size_bytes)
    pool = pool_of(case, node, room.page_size_bytes)
    if pool is None:
        case.notes.refuse(
            "plan.hugepage-size-absent",
            f"host node {node} has no pool of {page} pages",
            needed=f"{size // room.page_size_bytes} pages of {page}",
            available=_sizes_of(case, node),
            host_node=node,
            hint=f"use a page size that the host has, or add this one on the kernel's command line (hugepagesz={page[:-2]})",
        )
        return
    case.notes.refuse(
        "plan.hugepages-short",
        f"host node {node} has {room.pages} pages of {page} to give, and the pool {_growth_text(search, node)}; "
        f"the VM needs {size // room.page_size_bytes}",
        needed=f"{size // room.page_size_bytes} pages of {page}",
        available=f"{room.pages} pages of {page}",
        host_node=node,
        held_by=page_holders(case, node, pool),
        hint=_growth_hint(search, node, pool),
    )


def _explain_overhead(search: MemorySearch, node: int) -> None:
    room = search.room.nodes[node]
    held_by = base_holders(search.case, node)
    search.case.notes.refuse(
        "plan.overhead-short",
        f"host node {node} has {left_text(room.base_bytes)} in base pages after its reserve and promises; QEMU itself needs "
        f"{needed_text(search.overhead_bytes)} beside the hugepages",
        needed=needed_text(search.overhead_bytes),
        available=left_text(room.base_bytes),
        host_node=node,
        held_by=held_by,
        hint=ways_text(
            search.case,
            held_by,
            "shrink this node's hugepage pool (nr_hugepages)",
            "lower place.reserved_memory in the settings",
        ),
    )


def _pages_suffice(search: MemorySearch, room: NodeRoom) -> bool:
    return (room.pages or 0) * room.page_size_bytes >= search.case.spec.memory.size_bytes


def _growth_text(search: MemorySearch, node: int) -> str:
    room = search.room.nodes[node]
    possible = max(0, room.base_bytes - search.overhead_bytes) // room.page_size_bytes
    if room.grows:
        return f"can grow by {possible}"
    return f"may not grow (memory for {possible} more is free)"


def _growth_hint(search: MemorySearch, node: int, pool: PoolFacts) -> str:
    room = search.room.nodes[node]
    needed = search.case.spec.memory.size_bytes // room.page_size_bytes - (room.pages or 0)
    possible = max(0, room.base_bytes - search.overhead_bytes) // room.page_size_bytes
    if room.grows or possible < needed:
        held_by = page_holders(search.case, node, pool)
        return ways_text(search.case, held_by, "make memory.size smaller", "use another page size")
    size_dir = f"node{node}/hugepages/hugepages-{pool.page_size_bytes >> 10}kB"
    by_hand = f"echo {pool.total + needed} > /sys/devices/system/node/{size_dir}/nr_hugepages"
    if not search.case.facts.may_grow_pools:
        return f"run the daemon as root, or grow the pool by {needed} pages as root: {by_hand}"
    return f"set place.grow_hugepages = true in the settings, or grow the pool by {needed} pages: {by_hand}"


def _sizes_of(case: Case, node: int) -> str:
    pools = next((facts.pools for facts in case.facts.nodes if facts.host_node == node), ())
    return ", ".join(format_byte_size(pool.page_size_bytes) for pool in pools) or "no hugepages"


def _explain_pcpus(search: MemorySearch, node: int) -> None:
    case, fit = search.case, search.fit
    if len(search.fit.floating) > sum(map(fit.floats_on, search.cpu_nodes())):
        _explain_floating(search, node)
    needed = len(search.owned_cores)
    if needed <= sum(map(fit.guest_cores, search.cpu_nodes())):
        return
    what = _unit_text(search)
    held_by = pcpu_holders(case, node)
    case.notes.refuse(
        "plan.pcpus-short",
        f"host node {node} has room for {fit.guest_cores(node)} guest cores (each {what}); the VM needs {needed}",
        needed=f"{needed} × {what}",
        available=f"{fit.guest_cores(node)} × {what}",
        host_node=node,
        held_by=held_by,
        hint=ways_text(case, held_by, "ask for fewer vCPUs", "use another placement"),
    )


def _explain_floating(search: MemorySearch, node: int) -> None:
    case, pcpus = search.case, len(search.fit.pool.on((node,)))
    if not pcpus or case.policy.overcommit is None:
        refuse_empty_pool(case, node)
        return
    needed, room = len(search.fit.floating), search.fit.floats_on(node)
    held_by = floaters(case, node)
    case.notes.refuse(
        "plan.pool-crowded",
        f"host node {node} has room for {room} shared vCPUs ({pcpus} pool pCPUs, place.overcommit = {case.policy.overcommit}); "
        f"the VM has {needed}",
        needed=f"{needed} shared vCPUs",
        available=f"{room} shared vCPUs",
        host_node=node,
        held_by=held_by,
        hint=ways_text(case, held_by, "ask for fewer vCPUs", "raise place.overcommit in the settings"),
    )


def refuse_empty_pool(case: Case, node: int) -> None:
    """Note that shared vCPUs find no pCPU on the node."""
    held_by = pcpu_holders(case, node)
    case.notes.refuse(
        "plan.shared-pool-empty",
        f"host node {node} has no pCPU left in the shared pool",
        needed="1 pCPU",
        available="0 pCPUs",
        host_node=node,
        held_by=held_by,
        hint=ways_text(case, held_by, "leave more pCPUs out of housekeeping and isolation"),
    )


def _unit_text(search: MemorySearch) -> str:
    fit = search.fit
    threads = fit.topology.threads
    if fit.room is not None and fit.room.whole:
        return f"{threads} whole host core{'s' if threads > 1 else ''}"
    if fit.room is not None and fit.room.manner == "siblings":
        return f"{threads} free siblings of one host core"
    return f"{threads} free pCPU{'s' if threads > 1 else ''}"


def _explain_combination(search: MemorySearch) -> None:
    nodes = ", ".join(map(str, search.allowed))
    cores = len(search.owned_cores or search.floating_cores)
    search.case.notes.refuse(
        "plan.no-node-set",
        f"no set of the host nodes {nodes} has both the memory and the pCPUs, though each would be enough by itself",
        needed=f"{format_byte_size(search.case.spec.memory.size_bytes)} and {cores} guest cores",
        available="; ".join(
            f"node {node}: {left_text(search.room.nodes[node].capacity_bytes(search.overhead_bytes))}, "
            f"{search.core_rooms[node]} guest cores"
            for node in search.allowed
        ),
        hint="leave host_nodes and pins out where they are written, or write guest nodes (memory.nodes) that fit",
    )
