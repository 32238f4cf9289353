"""Why the memory or the vCPUs do not fit: one reason per host node and constraint, with who holds the rest."""

from __future__ import annotations

from collections.abc import Mapping

from qsup.bytesize import format_byte_size
from qsup.cpuset import format_cpulist
from qsup.plan.case import Case
from qsup.plan.host_facts import PoolFacts
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.memory_search import MemorySearch

Held = tuple[tuple[str, str], ...]


def explain_no_layout(search: MemorySearch) -> None:
    """Note every node's shortage of memory and of pCPUs; at least one reason in any case."""
    if search.case.notes.brief:
        search.case.notes.refuse("plan.no-room", "the host has no room for the VM", hint="ask for the reasons")
        return
    before = len(search.case.notes.reasons)
    if _memory_short(search):
        for node in search.allowed:
            _explain_memory(search, node)
    if _cores_short(search):
        for node in search.cpu_nodes():
            _explain_pcpus(search, node)
    if len(search.case.notes.reasons) == before:
        _explain_combination(search)


def _memory_short(search: MemorySearch) -> bool:
    part = search.overhead_bytes // max(1, len(search.allowed))
    room = sum(search.room.capacities(search.allowed, part)) * search.room.unit_bytes
    return room < search.case.spec.memory.size_bytes


def _cores_short(search: MemorySearch) -> bool:
    return sum(map(search.fit.guest_cores, search.cpu_nodes())) < len(search.guest_cores)


def _explain_memory(search: MemorySearch, node: int) -> None:
    case, room = search.case, search.room.nodes[node]
    size = case.spec.memory.size_bytes
    overhead = format_byte_size(search.overhead_bytes)
    base = f"{format_byte_size(max(0, room.base_bytes))} in base pages"
    if not room.hugepages:
        case.notes.refuse(
            "plan.memory-short",
            f"host node {node} has {base} after its reserve and promises; the VM needs {format_byte_size(size)} "
            f"and {overhead} for QEMU itself",
            needed=f"{format_byte_size(size)} + {overhead} overhead",
            available=base,
            host_node=node,
            held_by=_base_holders(case, node),
            hint="make memory.size smaller, or stop a VM that holds memory on this node",
        )
        return
    if room.base_bytes < 0:
        _explain_overhead(search, node)
    page = format_byte_size(room.page_size_bytes)
    pool = _pool_of(case, node, room.page_size_bytes)
    if pool is None:
        case.notes.refuse(
            "plan.hugepage-size-absent",
            f"host node {node} has no pool of {page} pages",
            needed=f"{size // room.page_size_bytes} pages of {page}",
            available=_sizes_of(case, node),
            host_node=node,
            hint="ask for a page size that the host has, or add it on the kernel's command line (hugepagesz=)",
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
        hint=_growth_hint(search, node),
    )


def _explain_overhead(search: MemorySearch, node: int) -> None:
    room = search.room.nodes[node]
    search.case.notes.refuse(
        "plan.overhead-short",
        f"host node {node} has no base pages left for QEMU's own {format_byte_size(search.overhead_bytes)}: it is "
        f"{format_byte_size(-room.base_bytes)} short of its reserve and promises",
        needed=format_byte_size(search.overhead_bytes),
        available="0B",
        host_node=node,
        held_by=_base_holders(search.case, node),
        hint="shrink the hugepage pool of this node, lower place.reserved_memory, or stop a VM",
    )


def _growth_text(search: MemorySearch, node: int) -> str:
    room = search.room.nodes[node]
    possible = max(0, room.base_bytes - search.overhead_bytes) // room.page_size_bytes
    if room.grows:
        return f"can grow by {possible}"
    return f"may not grow (memory for {possible} more is free)"


def _growth_hint(search: MemorySearch, node: int) -> str:
    room = search.room.nodes[node]
    needed = search.case.spec.memory.size_bytes // room.page_size_bytes - (room.pages or 0)
    possible = max(0, room.base_bytes - search.overhead_bytes) // room.page_size_bytes
    if room.grows or possible < needed:
        return "stop a VM that holds pages on this node, make memory.size smaller, or use another page size"
    if not search.case.facts.may_grow_pools:
        return f"grow the pool by {needed} pages as root, or run the daemon as root: the memory for it is free"
    return f"set grow_hugepages = true in the settings, or grow the pool by {needed} pages: the memory for it is free"


def _pool_of(case: Case, node: int, page_size_bytes: int) -> PoolFacts | None:
    pools = next((facts.pools for facts in case.facts.nodes if facts.host_node == node), ())
    return next((pool for pool in pools if pool.page_size_bytes == page_size_bytes), None)


def _sizes_of(case: Case, node: int) -> str:
    pools = next((facts.pools for facts in case.facts.nodes if facts.host_node == node), ())
    return ", ".join(format_byte_size(pool.page_size_bytes) for pool in pools) or "no hugepages"


def page_holders(case: Case, node: int, pool: PoolFacts) -> Held:
    """Who holds pages of this pool: VMs by name, then "foreign" for what no VM of qsup took."""
    held: list[tuple[str, str]] = []
    taken = 0
    for name, holding in sorted(case.ledger.holdings.items()):
        taken += holding.pages_taken.get((node, pool.page_size_bytes), 0)
        pages = sum(
            count
            for guest in holding.plan.guest_nodes
            for host_node, count in guest.pages
            if (host_node, guest.page_size_bytes) == (node, pool.page_size_bytes)
        )
        if pages and name != case.spec.name:
            held.append((name, f"{pages} pages"))
    foreign = pool.total - pool.free - taken
    if foreign > 0:
        held.append(("foreign", f"{foreign} pages"))
    return tuple(held)


def _base_holders(case: Case, node: int) -> Held:
    held = [("host", f"{format_byte_size(case.policy.reserved_memory_bytes)} reserve")]
    for name, holding in sorted(case.ledger.holdings.items()):
        amount = sum(
            size for guest in holding.plan.guest_nodes for host_node, size in guest.base_bytes if host_node == node
        )
        if amount and name != case.spec.name:
            held.append((name, format_byte_size(amount)))
    return tuple(held)


def _explain_pcpus(search: MemorySearch, node: int) -> None:
    case, fit = search.case, search.fit
    needed = len(search.guest_cores)
    if case.spec.cpu.placement == "shared":
        refuse_empty_pool(case, node)
        return
    what = _unit_text(search)
    case.notes.refuse(
        "plan.pcpus-short",
        f"host node {node} has room for {fit.guest_cores(node)} guest cores ({what}); the VM needs {needed}",
        needed=f"{needed} × {what}",
        available=f"{fit.guest_cores(node)} × {what}",
        host_node=node,
        held_by=pcpu_holders(case, node),
        hint="ask for fewer vCPUs, another placement, or stop a VM that holds pCPUs on this node",
    )


def refuse_empty_pool(case: Case, node: int) -> None:
    """Note that shared vCPUs find no pCPU on the node."""
    case.notes.refuse(
        "plan.shared-pool-empty",
        f"host node {node} has no pCPU left in the shared pool",
        needed="1 pCPU",
        available="0 pCPUs",
        host_node=node,
        held_by=pcpu_holders(case, node),
        hint="stop a dedicated VM, or leave more pCPUs out of housekeeping and isolation",
    )


def _unit_text(search: MemorySearch) -> str:
    fit = search.fit
    if fit.room is not None and fit.room.whole:
        return f"{fit.groups_per_core} whole host core{'s' if fit.groups_per_core > 1 else ''}"
    if fit.room is not None and fit.room.group > 1:
        return f"{fit.room.group} free siblings of one host core"
    return f"{fit.topology.threads} free pCPU{'s' if fit.topology.threads > 1 else ''}"


def pcpu_holders(case: Case, node: int) -> Held:
    """Who holds pCPUs of the node: VMs by name with their cpulists, then the host."""
    local = case.host.pcpus_of((node,))
    held: dict[str, set[int]] = {}
    for claims in (case.others.exclusive, case.others.pinned, case.others.emulators):
        _collect(held, claims, local)
    named = [(name, f"pCPUs {format_cpulist(held[name])}") for name in sorted(held)]
    for name, pcpus in (
        ("housekeeping", fixed_housekeeping(case.host, case.policy) & local),
        ("isolated", case.host.isolated & local if case.spec.cpu.placement == "shared" else frozenset()),
        ("shared pool", _kept(case) & local),
    ):
        if pcpus:
            named.append((name, f"pCPUs {format_cpulist(pcpus)}"))
    return tuple(named)


def _collect(held: dict[str, set[int]], claims: Mapping[int, tuple[str, ...]], local: frozenset[int]) -> None:
    for pcpu in local & claims.keys():
        for name in claims[pcpu]:
            held.setdefault(name, set()).add(pcpu)


def _kept(case: Case) -> frozenset[int]:
    """pCPUs that running shared VMs float on: the last of them cannot be given away."""
    if not case.others.shared or case.spec.cpu.placement == "shared":
        return frozenset()
    taken = {*case.others.exclusive, *fixed_housekeeping(case.host, case.policy)}
    return case.host.online - case.host.isolated - taken


def _explain_combination(search: MemorySearch) -> None:
    nodes = ", ".join(map(str, search.allowed))
    search.case.notes.refuse(
        "plan.no-node-set",
        f"no set of the host nodes {nodes} has both the memory and the pCPUs, though each would be enough by itself",
        needed=f"{format_byte_size(search.case.spec.memory.size_bytes)} and {len(search.guest_cores)} guest cores",
        available="; ".join(
            f"node {node}: {format_byte_size(search.room.nodes[node].capacity_bytes(search.overhead_bytes))}, "
            f"{search.core_rooms[node]} guest cores"
            for node in search.allowed
        ),
        hint="leave memory.host_nodes out, or split the VM into guest nodes by hand",
    )
