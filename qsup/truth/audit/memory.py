"""The host's memory settings: transparent hugepages, KSM, AutoNUMA, reclaim, swap."""

from __future__ import annotations

from qsup.bytesize import GIB
from qsup.truth.audit.facts import AuditFacts
from qsup.truth.audit.rule import (
    HOST,
    UNKNOWN_COST,
    Answer,
    Cost,
    Evidence,
    Found,
    Irrelevant,
    Rule,
    Unknown,
    not_told,
    of_one,
    told,
)

_THP = "/sys/kernel/mm/transparent_hugepage"
_KSM = "/sys/kernel/mm/ksm"
_MOST_SWAPPINESS = 10
_ONE_NODE = Irrelevant("the host has one node")


def _base_vms(facts: AuditFacts) -> list[str]:
    """VMs on base pages."""
    return [plan.name for plan in facts.plans if not all(node.hugepages for node in plan.guest_nodes)]


def _named(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _no_thp(facts: AuditFacts) -> Answer:
    names = _base_vms(facts)
    if not names:
        return Irrelevant("no VM is on base pages")
    chosen = facts.memory.thp.chosen
    off = None if chosen is None else chosen == "never"
    return of_one(facts.memory.thp, off, f"{_named(names)} on base pages get no transparent hugepages")


def _defrag(facts: AuditFacts) -> Answer:
    names = _base_vms(facts)
    if not names:
        return Irrelevant("no VM is on base pages")
    chosen = facts.memory.thp_defrag.chosen
    what = f"whoever touches memory may have to compact it first ({_named(names)} on base pages)"
    return of_one(facts.memory.thp_defrag, None if chosen is None else chosen == "always", what)


def _ksm_across(facts: AuditFacts) -> Answer:
    if len(facts.host.nodes) < 2:
        return _ONE_NODE
    run, across = facts.memory.ksm_run, facts.memory.ksm_across
    if run.text is None:
        return Irrelevant("the kernel has no KSM")
    if run.number != 1:
        return ()
    if across.is_on is None:
        return not_told(across)
    what = "KSM merges equal pages of different nodes: one side then reads across"
    return (Found(HOST, what, told(run, across)),) if across.is_on else ()


def _ksm_with_owners(facts: AuditFacts) -> Answer:
    if not facts.owned:
        return Irrelevant("no vCPU has a pCPU for itself")
    run = facts.memory.ksm_run
    if run.text is None:
        return Irrelevant("the kernel has no KSM")
    return of_one(run, None if run.number is None else run.number == 1, "ksmd scans memory, on whichever pCPU it finds idle")


def _numa_balancing(facts: AuditFacts) -> Answer:
    if len(facts.host.nodes) < 2:
        return _ONE_NODE
    bound = [plan.name for plan in facts.plans if any(node.host_nodes for node in plan.guest_nodes)]
    if not bound:
        return Irrelevant("no VM's memory is bound to nodes")
    number = facts.memory.numa_balancing.number
    what = f"AutoNUMA scans what is not bound in the processes of {_named(bound)}, whose place is decided"
    return of_one(facts.memory.numa_balancing, None if number is None else bool(number & 1), what)


def _zone_reclaim(facts: AuditFacts) -> Answer:
    if len(facts.host.nodes) < 2:
        return _ONE_NODE
    number = facts.memory.zone_reclaim.number
    what = "a node that is full throws its page cache away before it takes memory of another"
    return of_one(facts.memory.zone_reclaim, None if number is None else number != 0, what)


def _swapped(facts: AuditFacts) -> Answer:
    running = [vm for vm in facts.vms if vm.process is not None]
    if not running:
        return Irrelevant("no VM runs")
    found = []
    for vm in running:
        swapped = vm.process.swapped_bytes if vm.process is not None else None
        if vm.process is not None and swapped:
            what = f"{swapped >> 20} MiB of {vm.plan.name} are in swap"
            evidence = (Evidence(f"/proc/{vm.process.pid}/status", f"VmSwap: {swapped >> 10} kB"),)
            found.append(Found(vm.plan.name, what, evidence, {"vm": vm.plan.name}))
    untold = [vm.plan.name for vm in running if vm.process is not None and vm.process.swapped_bytes is None]
    if not found and untold:
        return Unknown(f"the kernel does not tell how much of {_named(untold)} is in swap")
    return tuple(found)


def _swappiness(facts: AuditFacts) -> Answer:
    names = _base_vms(facts)
    if facts.memory.swaps is None:
        return Unknown("cannot be read: /proc/swaps")
    if not facts.memory.swaps or not names:
        return Irrelevant("there is no swap" if names else "no VM is on base pages")
    swappiness = facts.memory.swappiness
    high = None if swappiness.number is None else swappiness.number > _MOST_SWAPPINESS
    answer = of_one(swappiness, high, f"memory of {_named(names)} may be swapped out in favour of page cache")
    if isinstance(answer, tuple):
        swaps = (Evidence("/proc/swaps", "; ".join(facts.memory.swaps)),)
        return tuple(Found(one.subject, one.what, one.evidence + swaps, one.fill) for one in answer)
    return answer


def _room_for_hugepages(facts: AuditFacts) -> Answer:
    plans = [plan for plan in facts.plans if not any(node.hugepages for node in plan.guest_nodes) and plan.memory_bytes >= GIB]
    if not plans:
        return Irrelevant("no VM of 1 GiB or more is on base pages")
    free: dict[int, int] = {}
    for node in facts.host.nodes:
        for pool in node.pools:
            if pool.page_size_bytes == 2 << 20:
                free[node.host_node] = max(0, pool.free - pool.reserved) * pool.page_size_bytes
    promised = _promised(facts)
    found = []
    for plan in plans:
        nodes = sorted({node for guest in plan.guest_nodes for node in guest.host_nodes}) or sorted(free)
        room = sum(max(0, free.get(node, 0) - promised.get(node, 0)) for node in nodes)
        if room >= plan.memory_bytes:
            what = f"{plan.name} is on base pages, and {room >> 20} MiB of hugepages lie free beside it"
            file = f"/sys/devices/system/node/node{nodes[0]}/hugepages/hugepages-2048kB/free_hugepages"
            found.append(Found(plan.name, what, (Evidence(file, str(free.get(nodes[0], 0) >> 21)),), {"vm": plan.name}))
    return tuple(found)


def _promised(facts: AuditFacts) -> dict[int, int]:
    """Bytes of 2 MiB pages by node that VMs which do not run would still take."""
    promised: dict[int, int] = {}
    for vm in facts.vms:
        for guest in vm.plan.guest_nodes if vm.process is None else ():
            for node, count in guest.pages:
                promised[node] = promised.get(node, 0) + count * guest.page_size_bytes
    return promised


_HUGE_COST = Cost(
    "about 3 % over workloads in guests of crosvm, with 70 % fewer EPT faults",
    "Intel, Increase the Performance of VM Workloads by Enabling Transparent Huge Page, 2022",
    3,
)

RULES = (
    Rule(
        "memory.no-thp",
        "VMs on base pages without transparent hugepages",
        "medium",
        "Each 4 KiB page takes an entry of its own in both page tables and in the TLB, and each miss walks both tables.",
        _HUGE_COST,
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        (f"{_THP}/enabled",),
        _no_thp,
        "transparent_hugepage=madvise on the kernel command line",
    ),
    Rule(
        "memory.thp-defrag-always",
        "page faults compact memory first",
        "medium",
        "With `always` every process that may have hugepages waits for reclaim and compaction at its page faults.",
        UNKNOWN_COST,
        "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
        (f"{_THP}/defrag",),
        _defrag,
        "a line in /etc/tmpfiles.d: w /sys/kernel/mm/transparent_hugepage/defrag - - - - madvise",
    ),
    Rule(
        "memory.room-for-hugepages",
        "a VM on base pages beside a pool with room",
        "low",
        "The pool's pages lie idle, and the VM pays for small pages.",
        _HUGE_COST,
        '# in {vm}\'s file: [memory] hugepages = "2MiB"; then qsup restart {vm}',
        ("/sys/devices/system/node/nodeN/hugepages/hugepages-2048kB/free_hugepages", "the VMs' plans"),
        _room_for_hugepages,
    ),
    Rule(
        "memory.ksm-across-nodes",
        "KSM merges pages across nodes",
        "low",
        "A merged page lies on one node, and everybody on the others reads it from afar.",
        UNKNOWN_COST,
        "echo 2 > /sys/kernel/mm/ksm/run && echo 0 > /sys/kernel/mm/ksm/merge_across_nodes && echo 1 > /sys/kernel/mm/ksm/run",
        (f"{_KSM}/run", f"{_KSM}/merge_across_nodes"),
        _ksm_across,
        "KSM_MERGE_ACROSS_NODES=0 in /etc/ksmtuned.conf, or a line in /etc/tmpfiles.d",
    ),
    Rule(
        "memory.ksm-with-owners",
        "KSM runs beside VMs that own pCPUs",
        "low",
        "qsup's VMs take no part in merging (mem-merge=off): ksmd burns time for others, on pCPUs that the VMs share with it.",
        UNKNOWN_COST,
        "systemctl disable --now ksmtuned ksm; echo 0 > /sys/kernel/mm/ksm/run",
        (f"{_KSM}/run",),
        _ksm_with_owners,
    ),
    Rule(
        "memory.numa-balancing",
        "AutoNUMA beside VMs that are bound to nodes",
        "low",
        "Bound memory and hugepages it leaves alone; the rest it unmaps to see who touches it: faults that lead nowhere.",
        UNKNOWN_COST,
        "sysctl -w kernel.numa_balancing=0",
        ("/proc/sys/kernel/numa_balancing",),
        _numa_balancing,
        "kernel.numa_balancing = 0 in /etc/sysctl.d/90-qsup.conf",
    ),
    Rule(
        "memory.zone-reclaim",
        "a full node reclaims instead of using another",
        "medium",
        "Allocations stall in reclaim although the host has free memory; image files lose their cache.",
        UNKNOWN_COST,
        "sysctl -w vm.zone_reclaim_mode=0",
        ("/proc/sys/vm/zone_reclaim_mode",),
        _zone_reclaim,
        "vm.zone_reclaim_mode = 0 in /etc/sysctl.d/90-qsup.conf",
    ),
    Rule(
        "memory.guest-swapped",
        "guest memory is in swap",
        "high",
        "The guest waits for the host's disk at accesses to what it takes for memory.",
        UNKNOWN_COST,
        '# free memory, then swapoff -a && swapon -a; in {vm}\'s file: [memory] hugepages = "2MiB", which is never swapped',
        ("/proc/PID/status",),
        _swapped,
    ),
    Rule(
        "memory.swappiness",
        "guest memory may be swapped for page cache",
        "low",
        "The kernel weighs a guest's idle pages against files that were read once.",
        UNKNOWN_COST,
        "sysctl -w vm.swappiness=1",
        ("/proc/swaps", "/proc/sys/vm/swappiness"),
        _swappiness,
        "vm.swappiness = 1 in /etc/sysctl.d/90-qsup.conf",
    ),
)
