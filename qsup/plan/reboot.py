"""reboot: the same VMs on the same host after a boot, and what must be set for it to come out the same.

Strategy: at boot nobody holds anything, pools have what was set for the boot, and the memory that VMs and pools had is free.
The records of the guests carry their last placement, which `place` gives again where it can. The lines that guarantee it are
proved: planned again on the host as they make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from qsup.bytesize import GIB, MIB
from qsup.cpuset import format_cpulist
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts, HostNodeFacts
from qsup.plan.ledger import Ledger
from qsup.plan.ledger_index import exclusive_pcpus
from qsup.plan.vmplan import VmPlan
from qsup.plan.whatif import Outcome, Stage, plan_batch, without_vms
from qsup.spec.vmspec import VmSpec

Pages = Mapping[tuple[int, int], int]  # (host node, page size in bytes) → pages


@frozen
class BootLines:
    """What to write where, one line each; empty where nothing is needed."""

    kernel: tuple[str, ...]
    sysctl: tuple[str, ...]
    tmpfiles: tuple[str, ...]


@frozen
class Reboot:
    """`at_boot`: what comes back as the host is set up now. `with_lines`: the same with the lines in force."""

    at_boot: Outcome
    lines: BootLines
    with_lines: Outcome


def plan_reboot(
    specs: Iterable[VmSpec],
    now: Stage,
    records: Mapping[str, GuestRecord],
    boot_pages: Pages,
    default_page_bytes: int = 2 * MIB,
) -> Reboot:
    """Plan all VMs on the host as it boots.

    Args:
        specs: the VMs that start by themselves.
        now: the host with everything that runs; all of it ends.
        records: what is recorded of the guests, with their last placement.
        boot_pages: the pools that are set for the boot.
        default_page_bytes: the page size that vm.nr_hugepages speaks of.
    """
    batch = tuple(specs)
    idle = without_vms(now, tuple(now.ledger.holdings)).facts
    at_boot = plan_batch(batch, Stage(_booted(idle, boot_pages), now.policy, Ledger()), records)
    plans = _plans_wanted(batch, now.ledger, at_boot.stage.ledger)
    needed = _pages_needed(plans, boot_pages)
    owned = frozenset[int]().union(*map(exclusive_pcpus, plans))
    lines = _lines(idle, plans, needed, owned, default_page_bytes)
    prepared = _isolated(_booted(idle, needed), owned if _isolates(idle, owned) else frozenset())
    return Reboot(at_boot, lines, plan_batch(batch, Stage(prepared, now.policy, Ledger()), records))


def same_seats(one: VmPlan, other: VmPlan) -> bool:
    """Whether two plans put the vCPUs and the memory in the same place."""
    return seats_of(one) == seats_of(other)


def seats_of(plan: VmPlan) -> tuple[object, ...]:
    """Where vCPUs and memory sit."""
    return (
        tuple(vcpu.pin for vcpu in plan.vcpus),
        tuple((node.host_nodes, node.page_size_bytes) for node in plan.guest_nodes),
    )


def _booted(facts: HostFacts, pages: Pages) -> HostFacts:
    return evolve(facts, nodes=tuple(_booted_node(node, pages) for node in facts.nodes))


def _booted_node(node: HostNodeFacts, pages: Pages) -> HostNodeFacts:
    """All pages of now are base memory again, then those that are set for the boot are taken out of it."""
    free = node.memory_free_bytes + sum(pool.free * pool.page_size_bytes for pool in node.pools)
    pools = []
    for pool in node.pools:
        count = min(pages.get((node.host_node, pool.page_size_bytes), 0), max(0, free) // pool.page_size_bytes)
        free -= count * pool.page_size_bytes
        pools.append(evolve(pool, total=count, free=count, reserved=0, surplus=0))
    return evolve(node, memory_free_bytes=min(node.memory_total_bytes, max(0, free)), pools=tuple(pools))


def _isolated(facts: HostFacts, pcpus: frozenset[int]) -> HostFacts:
    pieces = (evolve(pcpu, isolated=True) if pcpu.pcpu in pcpus else pcpu for pcpu in facts.pcpus)
    return evolve(facts, pcpus=tuple(pieces))


def _plans_wanted(batch: Iterable[VmSpec], now: Ledger, then: Ledger) -> tuple[VmPlan, ...]:
    """Where each VM is to be after the boot: where it is now, else where it would come back."""
    ledgers = ((now if spec.name in now.holdings else then, spec.name) for spec in batch)
    return tuple(ledger.holdings[name].plan for ledger, name in ledgers if name in ledger.holdings)


def _pages_needed(plans: Iterable[VmPlan], boot_pages: Pages) -> dict[tuple[int, int], int]:
    needed: dict[tuple[int, int], int] = {}
    for plan in plans:
        for guest in plan.guest_nodes:
            for node, count in guest.pages:
                key = (node, guest.page_size_bytes)
                needed[key] = needed.get(key, 0) + count
    return {key: max(needed.get(key, 0), boot_pages.get(key, 0)) for key in sorted({*needed, *boot_pages})}


def _isolates(facts: HostFacts, owned: frozenset[int]) -> bool:
    return bool(owned) and bool(facts.index.online - owned)


def _lines(
    facts: HostFacts, plans: Iterable[VmPlan], needed: Pages, owned: frozenset[int], default_page_bytes: int
) -> BootLines:
    large = {key: count for key, count in needed.items() if count and key[1] >= GIB}
    small = {key: count for key, count in needed.items() if count and key[1] < GIB}
    single = len(facts.nodes) == 1
    spread = {key for key in small if single and key[1] == default_page_bytes}
    return BootLines(
        kernel=(*_page_words(large), *_pcpu_words(facts, owned)),
        sysctl=(
            *(f"vm.nr_hugepages = {small[key]}" for key in sorted(spread)),
            *(("kernel.numa_balancing = 0",) if not single and _binds(plans) else ()),
        ),
        tmpfiles=tuple(_tmpfile(*key, count) for key, count in sorted(small.items()) if key not in spread),
    )


def _page_words(large: Pages) -> tuple[str, ...]:
    """1 GiB pages can only be had for certain at boot, before memory is in pieces."""
    if not large:
        return ()
    counts = ",".join(f"{node}:{count}" for (node, _), count in sorted(large.items()))
    return ("hugepagesz=1G", f"hugepages={counts}")


def _pcpu_words(facts: HostFacts, owned: frozenset[int]) -> tuple[str, ...]:
    if not _isolates(facts, owned):
        return ()
    pcpus, rest = format_cpulist(owned), format_cpulist(facts.index.online - owned)
    return (
        f"isolcpus=managed_irq,domain,{pcpus}",
        f"nohz_full={pcpus}",
        f"rcu_nocbs={pcpus}",
        f"irqaffinity={rest}",
    )


def _binds(plans: Iterable[VmPlan]) -> bool:
    return any(node.host_nodes for plan in plans for node in plan.guest_nodes)


def _tmpfile(node: int, size_bytes: int, count: int) -> str:
    pool = f"/sys/devices/system/node/node{node}/hugepages/hugepages-{size_bytes >> 10}kB/nr_hugepages"
    return f"w {pool} - - - - {count}"
