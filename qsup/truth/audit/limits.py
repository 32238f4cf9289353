"""Limits that hold for the processes of VMs: cgroups and rlimits."""

from __future__ import annotations

from collections.abc import Callable

from qsup.cpuset import format_cpulist
from qsup.plan.vmplan import VmPlan
from qsup.truth.audit.facts import AuditFacts, ProcessFacts
from qsup.truth.audit.rule import HOST, UNKNOWN_COST, Answer, Cost, Evidence, Found, Irrelevant, Rule, Unknown, not_told, told

URING_WITHOUT_MEMLOCK = (5, 12)
_URING_LOCKED_BYTES = 1 << 20
_BASE_FDS = 128
_FDS_A_VCPU = 4
_THREADS_BESIDE = 80
AIO_EVENTS_A_CONTEXT = 1024
"""MAX_EVENTS of QEMU's block/linux-aio.c; aio-nr grows by as much with QEMU 7.2."""
_AIO_MAX_AT_LEAST = 1 << 20


def _each(facts: AuditFacts, look: Callable[[VmPlan, ProcessFacts], Found | None]) -> Answer:
    running = [(vm.plan, vm.process) for vm in facts.vms if vm.process is not None]
    if not running:
        return Irrelevant("no VM runs")
    found = [one for plan, process in running if process.told and (one := look(plan, process)) is not None]
    unseen = [plan.name for plan, process in running if not process.told]
    if unseen and not found:
        return Unknown(f"the limits of {', '.join(unseen)} cannot be read")
    return tuple(found)


def _memory(facts: AuditFacts) -> Answer:
    return _each(facts, lambda plan, process: _memory_of(facts, plan, process))


def _memory_of(facts: AuditFacts, plan: VmPlan, process: ProcessFacts) -> Found | None:
    limit, every = process.memory_limit, facts.memory.hugetlb_in_cgroups
    base = sum(node.size_bytes for node in plan.guest_nodes if every or not node.hugepages)
    needed = base + plan.overhead_bytes
    if limit is None or limit.value >= needed:
        return None
    parts = f"{base >> 20} MiB of guest memory and {plan.overhead_bytes >> 20} MiB for QEMU" if base else "QEMU's own part"
    what = f"{plan.name} may need {needed >> 20} MiB ({parts}), its cgroup allows {limit.value >> 20} MiB"
    unit = limit.file.rpartition("/")[0].rpartition("/")[2]
    fill = {"unit": unit, "needed": f"{-(-needed >> 20)}M"}
    return Found(plan.name, what, (Evidence(limit.file, str(limit.value)),), fill)


def _quota(facts: AuditFacts) -> Answer:
    return _each(facts, _quota_of)


def _quota_of(plan: VmPlan, process: ProcessFacts) -> Found | None:
    quota = process.quota_percent
    if quota is None or quota.value >= 100 * len(plan.vcpus):
        return None
    what = f"{plan.name} has {len(plan.vcpus)} vCPUs, its cgroup gives it {quota.value / 100:g} pCPUs' time"
    unit = quota.file.rpartition("/")[0].rpartition("/")[2]
    percent = round(100 - quota.value / len(plan.vcpus))
    cost = Cost(f"{percent} % of the vCPUs' time at full load", f"this host: {quota.file}", percent)
    return Found(plan.name, what, (Evidence(quota.file, f"{quota.value} %"),), {"unit": unit}, cost)


def _cpuset(facts: AuditFacts) -> Answer:
    return _each(facts, lambda plan, process: _cpuset_of(facts, plan, process))


def _cpuset_of(facts: AuditFacts, plan: VmPlan, process: ProcessFacts) -> Found | None:
    if process.cpuset is None:
        return None
    pins = [
        *(vcpu.pin for vcpu in plan.vcpus),
        *(iothread.pin for iothread in plan.iothreads),
        *(nic.worker_pin for nic in plan.nics if nic.vhost),
    ]
    planned = plan.emulator.union(*pins) & facts.host.index.online
    barred = planned - process.cpuset
    if not barred:
        return None
    what = f"the cpuset of {plan.name} does not allow pCPUs {format_cpulist(barred)} of its plan"
    evidence = (Evidence(f"{plan.name}: cpuset.cpus.effective", format_cpulist(process.cpuset)),)
    return Found(plan.name, what, evidence, {"vm": plan.name})


def _nofile(facts: AuditFacts) -> Answer:
    return _each(facts, _nofile_of)


def _nofile_of(plan: VmPlan, process: ProcessFacts) -> Found | None:
    needed = fds_of(plan)
    if process.nofile is None or process.nofile >= needed:
        return None
    what = f"QEMU of {plan.name} may open {process.nofile} files, its queues and vCPUs take about {needed}"
    evidence = (Evidence(f"/proc/{process.pid}/limits", f"Max open files {process.nofile}"),)
    return Found(plan.name, what, evidence, {"vm": plan.name, "pid": str(process.pid), "needed": str(2 * needed)})


def fds_of(plan: VmPlan) -> int:
    """About how many descriptors QEMU needs.

    Two event descriptors a virtqueue (a disk has one for each vCPU, a nic two a pair and one for control), a tap and a vhost
    descriptor for each pair, and those of vCPUs and images.
    """
    vcpus = len(plan.vcpus)
    disks = sum(2 * vcpus + len(disk.chain) + 2 for disk in plan.disks)
    nics = sum(2 * (2 * nic.queues + 1) + 2 * nic.queues for nic in plan.nics)
    return _BASE_FDS + _FDS_A_VCPU * vcpus + disks + nics


def _memlock(facts: AuditFacts) -> Answer:
    if facts.host.kernel >= URING_WITHOUT_MEMLOCK:
        return Irrelevant("since Linux 5.12 io_uring's rings do not count as locked memory, and qsup locks none")
    return _each(facts, _memlock_of)


def _memlock_of(plan: VmPlan, process: ProcessFacts) -> Found | None:
    uring = [disk.disk_id for disk in plan.disks if disk.aio == "io_uring"]
    limit = process.memlock_bytes
    if not uring or limit is None or limit >= _URING_LOCKED_BYTES:
        return None
    what = f"QEMU of {plan.name} may lock {limit >> 10} KiB, and io_uring's rings ({', '.join(uring)}) count as locked here"
    evidence = (Evidence(f"/proc/{process.pid}/limits", f"Max locked memory {limit}"),)
    return Found(plan.name, what, evidence, {"vm": plan.name, "pid": str(process.pid)})


def _threads(facts: AuditFacts) -> Answer:
    return _each(facts, _threads_of)


def _threads_of(plan: VmPlan, process: ProcessFacts) -> Found | None:
    limit = process.pids_limit
    needed = len(plan.vcpus) + len(plan.iothreads) + sum(nic.queues for nic in plan.nics) + _THREADS_BESIDE
    if limit is None or limit.value >= needed:
        return None
    what = f"{plan.name} may have {limit.value} threads; its vCPUs, iothreads, vhost and pool workers may be {needed}"
    unit = limit.file.rpartition("/")[0].rpartition("/")[2]
    return Found(plan.name, what, (Evidence(limit.file, str(limit.value)),), {"unit": unit, "needed": str(4 * needed)})


def _aio_events(facts: AuditFacts) -> Answer:
    contexts = {vm.plan.name: aio_contexts_of(vm.plan) for vm in facts.vms}
    users = sorted(name for name, count in contexts.items() if count)
    if not users:
        return Irrelevant("no VM has a disk with aio = native")
    reserved, most = facts.aio_events.reserved, facts.aio_events.most
    if reserved.text is None or most.text is None:
        return not_told(reserved, most)
    if reserved.number is None or most.number is None:
        return Unknown(f"{reserved.file} or {most.file} is no number")
    # What running VMs have reserved already is in the kernel's count; what others have of it nobody tells.
    to_come = sum(contexts[vm.plan.name] for vm in facts.vms if vm.process is None)
    needed = max(AIO_EVENTS_A_CONTEXT * sum(contexts.values()), reserved.number + AIO_EVENTS_A_CONTEXT * to_come)
    if needed <= most.number:
        return ()
    who = f"{len(users)} VMs" if len(users) > 1 else users[0]
    what = f"the aio = native disks of {who} bring the events to {needed}, and the kernel gives {most.number} to all processes"
    fill = {"needed": str(max(_AIO_MAX_AT_LEAST, 1 << (2 * needed - 1).bit_length()))}
    return (Found(HOST, what, told(reserved, most), fill),)


def aio_contexts_of(plan: VmPlan) -> int:
    """How many contexts QEMU makes for aio = native at most: its main loop's, and one for each iothread with such a disk."""
    native = [disk for disk in plan.disks if disk.aio == "native"]
    threads = {thread.iothread_id for disk in native for thread in disk.queue_threads}
    threads |= {disk.iothread_id for disk in native if disk.iothread_id is not None}
    return 1 + len(threads) if native else 0


RULES = (
    Rule(
        "limits.memory",
        "a memory limit below what the VM may need",
        "high",
        "When the guest has touched its memory, the kernel kills QEMU: a power cut for the guest.",
        UNKNOWN_COST,
        "systemctl set-property {unit} MemoryMax={needed}   # or infinity",
        ("memory.max of the VM's cgroup and those above", "the VMs' plans"),
        _memory,
    ),
    Rule(
        "limits.cpu-quota",
        "a CPU quota below the VM's vCPUs",
        "medium",
        "When the quota is used up, all vCPUs stand still until the next period: a pause of up to 100 ms.",
        UNKNOWN_COST,
        "systemctl set-property {unit} CPUQuota=",
        ("cpu.max of the VM's cgroup and those above", "the VMs' plans"),
        _quota,
    ),
    Rule(
        "limits.cpuset",
        "a cpuset that does not allow the plan",
        "high",
        "The kernel refuses the pins, or moves threads to what is left: vCPUs meet on pCPUs that others own.",
        UNKNOWN_COST,
        "systemctl set-property qsup.slice AllowedCPUs=   # then qsup verify {vm}",
        ("cpuset.cpus.effective of the VM's cgroup", "the VMs' plans"),
        _cpuset,
    ),
    Rule(
        "limits.nofile",
        "too few open files for the VM's queues",
        "medium",
        "Queues that get no event descriptor fall back to exits into QEMU, or the device does not come up.",
        UNKNOWN_COST,
        "prlimit --pid {pid} --nofile={needed}:",
        ("/proc/PID/limits", "the VMs' plans"),
        _nofile,
        "LimitNOFILE= in a drop-in of qsup.service: systemctl edit qsup",
    ),
    Rule(
        "limits.memlock",
        "io_uring under a small memlock limit",
        "medium",
        "Before Linux 5.12 its rings count as locked memory: QEMU falls back to its thread pool, or does not start.",
        UNKNOWN_COST,
        "prlimit --pid {pid} --memlock=unlimited",
        ("/proc/PID/limits", "/proc/sys/kernel/osrelease", "the VMs' plans"),
        _memlock,
        "LimitMEMLOCK=infinity in a drop-in of qsup.service: systemctl edit qsup",
    ),
    Rule(
        "limits.threads",
        "a limit of threads below what the VM may need",
        "medium",
        "QEMU ends when it cannot make a thread; its pool alone may have 64.",
        UNKNOWN_COST,
        "systemctl set-property {unit} TasksMax={needed}",
        ("pids.max of the VM's cgroup and those above", "the VMs' plans"),
        _threads,
    ),
    Rule(
        "limits.aio-events",
        "too few aio events for the disks with aio = native",
        "medium",
        "A context that gets no events makes QEMU hand each request to its thread pool, or keeps it from opening the disk.",
        UNKNOWN_COST,
        "sysctl -w fs.aio-max-nr={needed}",
        ("/proc/sys/fs/aio-nr", "/proc/sys/fs/aio-max-nr", "the VMs' plans"),
        _aio_events,
        "fs.aio-max-nr = {needed} in /etc/sysctl.d/90-qsup.conf",
    ),
)
