"""Hugepage pools: will they be there after a reboot, who has them, could they grow."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.bytesize import GIB, MIB, format_byte_size
from qsup.plan.host_facts import PoolFacts
from qsup.truth.audit.facts import AuditFacts, BuddyRow
from qsup.truth.audit.rule import HOST, UNKNOWN_COST, Answer, Evidence, Found, Irrelevant, Rule, Unknown, told

_TWO_MIB = 2 * MIB
_LEAST_LARGE = 0.5
_NO_POOL = Irrelevant("no hugepage pool has pages")


def _pools(facts: AuditFacts) -> Iterable[tuple[int, PoolFacts]]:
    return ((node.host_node, pool) for node in facts.host.nodes for pool in node.pools)


def _file(host_node: int, size_bytes: int, name: str = "nr_hugepages") -> str:
    return f"/sys/devices/system/node/node{host_node}/hugepages/hugepages-{size_bytes >> 10}kB/{name}"


def _not_lasting(facts: AuditFacts) -> Answer:
    if not any(pool.total for _, pool in _pools(facts)):
        return _NO_POOL
    found = []
    for node, pool in _pools(facts):
        at_boot = facts.memory.pools_at_boot.get((node, pool.page_size_bytes), 0)
        lost = pool.total - pool.surplus - at_boot
        if lost > 0 and _needs_pages(facts, node, pool.page_size_bytes):
            size = format_byte_size(pool.page_size_bytes)
            what = f"node {node} has {pool.total} pages of {size}, and will have {at_boot} after a reboot"
            path = _file(node, pool.page_size_bytes)
            fill = {"line": f"w {path} - - - - {pool.total - pool.surplus}"}
            evidence = (Evidence(path, str(pool.total)), Evidence("boot settings", f"{at_boot} pages"))
            found.append(Found(HOST, what, evidence, fill))
    return tuple(found)


def _needs_pages(facts: AuditFacts, node: int, size_bytes: int) -> bool:
    """Whether a VM has or wants pages of this pool; a pool that nobody uses may go."""
    return any(
        guest.page_size_bytes == size_bytes and guest.hugepages and node in dict(guest.pages)
        for plan in facts.plans
        for guest in plan.guest_nodes
    )


def _foreign(facts: AuditFacts) -> Answer:
    if not any(pool.total for _, pool in _pools(facts)):
        return _NO_POOL
    if facts.pages_taken is None:
        return Unknown("the hugepages of the VMs' processes cannot be counted")
    found = []
    for node, pool in _pools(facts):
        foreign = pool.total - pool.free - facts.pages_taken.get((node, pool.page_size_bytes), 0)
        if foreign > 0:
            size = format_byte_size(pool.page_size_bytes)
            what = f"{foreign} pages of {size} on node {node} are used by processes that are no VM of qsup"
            evidence = tuple(
                Evidence(_file(node, pool.page_size_bytes, name), str(value))
                for name, value in (("nr_hugepages", pool.total), ("free_hugepages", pool.free))
            )
            found.append(Found(HOST, what, evidence))
    return tuple(found)


def _fragmented(facts: AuditFacts) -> Answer:
    """Only where somebody wants more pages than the pools have free: else fragmentation harms nobody."""
    wanted = _wanted_growth(facts)
    if not wanted:
        return Irrelevant("no VM waits for more 2 MiB pages than are free")
    rows = {row.host_node: row for row in facts.memory.buddies}
    if not rows:
        return Unknown("cannot be read: /proc/buddyinfo")
    short = [row for row in rows.values() if row.host_node in wanted and _is_fragmented(row, wanted[row.host_node])]
    return tuple(_fragmented_node(row, wanted[row.host_node]) for row in short)


def _wanted_growth(facts: AuditFacts) -> dict[int, int]:
    """Node → bytes in 2 MiB pages by which pools must grow for VMs that do not run yet."""
    wanted: dict[int, int] = {}
    for vm in facts.vms:
        for growth in vm.plan.pool_growth if vm.process is None else ():
            if growth.page_size_bytes == _TWO_MIB:
                wanted[growth.host_node] = wanted.get(growth.host_node, 0) + growth.count * _TWO_MIB
    return wanted


def _is_fragmented(row: BuddyRow, wanted_bytes: int) -> bool:
    return row.large_bytes < wanted_bytes and row.large_bytes < row.free_bytes * _LEAST_LARGE


def _fragmented_node(row: BuddyRow, wanted_bytes: int) -> Found:
    what = (
        f"VMs that are to start want {wanted_bytes // _TWO_MIB} more pages of 2 MiB on node {row.host_node}; of its "
        f"{row.free_bytes >> 20} MiB free memory {row.large_bytes >> 20} MiB lie in blocks that large"
    )
    value = f"node {row.host_node}: {row.large_bytes >> 20} of {row.free_bytes >> 20} MiB in blocks of 2 MiB and more"
    return Found(HOST, what, (Evidence("/proc/buddyinfo", value),))


def _surplus(facts: AuditFacts) -> Answer:
    if not facts.memory.overcommit:
        return Irrelevant("no hugepage pool may be overcommitted")
    over = [one for one in facts.memory.overcommit if one.number]
    if not over:
        return ()
    what = "pools may hand out pages that they do not have: a guest dies of SIGBUS at its first touch where none is found"
    return (Found(HOST, what, told(*over), {"file": over[0].file}),)


def _small_for_large(facts: AuditFacts) -> Answer:
    flags = facts.processor.flags
    if flags is None:
        return Unknown("cannot be read: /proc/cpuinfo")
    if "pdpe1gb" not in flags:
        return Irrelevant("the processor has no pages of 1 GiB")
    found = []
    for plan in facts.plans:
        small = [node for node in plan.guest_nodes if node.hugepages and node.page_size_bytes == _TWO_MIB]
        size = sum(node.size_bytes for node in small)
        if size >= 64 * GIB and size % GIB == 0:
            what = f"{plan.name} has {size // GIB} GiB in {size // _TWO_MIB} pages of 2 MiB, and the processor knows 1 GiB"
            found.append(Found(plan.name, what, (Evidence(f"{plan.name}: memory.hugepages", "2MiB"),), {"vm": plan.name}))
    return tuple(found)


RULES = (
    Rule(
        "hugepages.not-lasting",
        "a pool that a reboot makes smaller",
        "medium",
        "After the reboot memory is fragmented before qsup asks for the pages, and VMs may be refused.",
        UNKNOWN_COST,
        "echo '{line}' >> /etc/tmpfiles.d/qsup-hugepages.conf   # qsup plan --reboot has all lines",
        ("/sys/devices/system/node/nodeN/hugepages/hugepages-SIZEkB/nr_hugepages", "/proc/cmdline", "sysctl.d", "tmpfiles.d"),
        _not_lasting,
    ),
    Rule(
        "hugepages.foreign",
        "others use the hugepages",
        "medium",
        "VMs that are planned to have these pages are refused, or the pool grows at the cost of the host's memory.",
        UNKNOWN_COST,
        "grep -l 'KernelPageSize: *2048 kB' /proc/[0-9]*/smaps   # names the processes",
        ("/sys/devices/system/node/nodeN/hugepages/hugepages-SIZEkB/*", "/proc/PID/numa_maps"),
        _foreign,
    ),
    Rule(
        "hugepages.fragmented",
        "memory is too fragmented for the pages that VMs want",
        "medium",
        "Growing the pool takes compaction, which is slow and may fail: the start is delayed or refused.",
        UNKNOWN_COST,
        "echo 1 > /proc/sys/vm/compact_memory",
        ("/proc/buddyinfo", "the VMs' plans"),
        _fragmented,
        "set the pool for the boot: qsup plan --reboot",
    ),
    Rule(
        "hugepages.overcommit",
        "hugepage pools are overcommitted",
        "low",
        "What is promised beyond the pool is looked for at the moment of need.",
        UNKNOWN_COST,
        "echo 0 > {file}",
        ("/sys/kernel/mm/hugepages/hugepages-SIZEkB/nr_overcommit_hugepages",),
        _surplus,
        "no vm.nr_overcommit_hugepages in /etc/sysctl.d",
    ),
    Rule(
        "hugepages.small-for-large-vm",
        "a large VM on small hugepages",
        "low",
        "With 1 GiB pages the second-stage tables have one level less and the TLB reaches 512 times as far.",
        UNKNOWN_COST,
        '# hugepagesz=1G hugepages=N on the kernel command line, and [memory] hugepages = "1GiB" in {vm}\'s file',
        ("/proc/cpuinfo", "the VMs' plans"),
        _small_for_large,
    ),
)
