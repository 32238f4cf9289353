"""Who holds what of a host node: the ends of a refusal's reasons, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qsup.bytesize import format_byte_size
from qsup.plan.case import Case
from qsup.plan.host_facts import PoolFacts
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.ledger_index import shared_load_of
from qsup.plan.wording import needed_text, pcpus_text

Held = tuple[tuple[str, str], ...]


def page_holders(case: Case, node: int, pool: PoolFacts) -> Held:
    """Who holds pages of this pool: "reserved" by the settings, "foreign" by no VM of qsup, then VMs, who holds most first."""
    held: list[tuple[int, str]] = []
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
            held.append((pages, name))
    foreign = pool.total - pool.free - taken
    kept = case.policy.reserved_pages_on(node, pool.page_size_bytes)
    others = [(who, f"{pages} pages") for who, pages in (("reserved", kept), ("foreign", foreign)) if pages > 0]
    return (*others, *((name, f"{pages} pages") for pages, name in _most_first(held)))


def base_holders(case: Case, node: int) -> Held:
    """Who holds base pages of the node: the host's reserve, then VMs, who holds most first."""
    held: list[tuple[int, str]] = []
    for name, holding in sorted(case.ledger.holdings.items()):
        amount = sum(size for guest in holding.plan.guest_nodes for host_node, size in guest.base_bytes if host_node == node)
        if amount and name != case.spec.name:
            held.append((amount, name))
    reserve = ("host", f"{format_byte_size(case.policy.reserved_memory_on(node))} reserve")
    return (reserve, *((name, needed_text(amount)) for amount, name in _most_first(held)))


def holders_on(case: Case, node: int, hugepages_bytes: int | None) -> Held:
    """Who holds memory of the node, in pages of this size (None: base pages), and pCPUs."""
    pool = pool_of(case, node, hugepages_bytes or 0)
    memory = base_holders(case, node) if pool is None else page_holders(case, node, pool)
    return (*memory, *(pcpu_holders(case, node) if case.spec.cpu.placement in ("dedicated", "isolated") else ()))


def pcpu_holders(case: Case, node: int) -> Held:
    """Who holds pCPUs of the node, with their cpulists: the host itself, then VMs, who holds most first."""
    local = case.host.pcpus_of((node,))
    held: dict[str, set[int]] = {}
    for claims in (case.others.exclusive, case.others.pinned, case.others.emulators):
        _collect(held, claims, local)
    named: list[tuple[str, str]] = []
    for name, pcpus in (
        ("housekeeping", fixed_housekeeping(case.host, case.policy) & local),
        ("isolated", case.host.isolated & local if case.spec.cpu.placement == "shared" else frozenset()),
        ("shared pool", _kept(case) & local),
    ):
        if pcpus:
            named.append((name, pcpus_text(pcpus)))
    vms = _most_first((len(pcpus), name) for name, pcpus in held.items())
    return (*named, *((name, pcpus_text(held[name])) for _, name in vms))


def floaters(case: Case, node: int) -> Held:
    """The VMs that float on the node, with their shared vCPUs there, who has most first."""
    counts = ((shared_load_of(holding.plan).get(node, 0), name) for name, holding in case.ledger.holdings.items())
    others = _most_first((count, name) for count, name in counts if count and name != case.spec.name)
    return tuple((name, f"{count} shared vCPUs") for count, name in others)


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


def pool_of(case: Case, node: int, page_size_bytes: int) -> PoolFacts | None:
    """The node's pool of pages of this size."""
    pools = next((facts.pools for facts in case.facts.nodes if facts.host_node == node), ())
    return next((pool for pool in pools if pool.page_size_bytes == page_size_bytes), None)


def _most_first(held: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(held, key=lambda pair: (-pair[0], pair[1]))


def ways_text(case: Case, held_by: Held, *ways: str) -> str:
    """The ways out as a hint; where VMs hold something, the last is to stop them, the one named that holds most."""
    names = [name for name, _ in held_by if name in case.ledger.holdings]
    stop = f"stop {names[0]}" if len(names) == 1 else f"stop VMs there ({names[0]} holds most)" if names else None
    *first, last = [*ways, stop] if stop else ways
    return f"{', '.join(first)}, or {last}" if first else last
