"""Place threads: pin every thread as recorded and read back what the kernel says."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.cpuset import format_cpulist
from qsup.errors import KernelRefused
from qsup.host.affinity import set_affinity, threads_of
from qsup.host.kernel_threads import kernel_threads_of
from qsup.host.topology import online_pcpus
from qsup.plan.vmplan import VmPlan
from qsup.qmp import verbs
from qsup.qmp.session import QmpSession
from qsup.supervisor.events import EventLog
from qsup.supervisor.vm_state import VmState
from qsup.truth.threads import ThreadIds, ThreadRow, drifted, thread_rows


async def place_threads(events: EventLog, vm: VmState) -> None:
    """Put every thread that QMP and /proc name onto its pin and read all of them back.

    Touches: sched_setaffinity of the VM's threads; QMP query-cpus-fast, query-iothreads.

    Raises:
        QmpLost, QmpRefused: the thread ids could not be had.
        KernelRefused: a thread refuses its mask.
    """
    run = vm.run
    assert run.plan is not None
    assert run.link is not None
    if run.ids is None or any(row.verdict == "missing" for row in run.rows):
        run.ids = await _thread_ids(run.link.require_control(), run.plan)
    look_at_threads(vm)
    known = run.seen_in_place
    moved = put_back(vm)
    if run.started:
        _report_repairs(events, vm.name, [row for row in moved if not _is_newcomer(row, known)])


def _is_newcomer(row: ThreadRow, known: frozenset[int]) -> bool:
    """A thread that QEMU or the kernel made since the last look: it begins with its maker's mask, nobody moved it."""
    return row.thread_class == "emulator" and bool(known) and row.tid not in known


def put_back(vm: VmState) -> tuple[ThreadRow, ...]:
    """Pin the threads that the last look found elsewhere, and look again.

    Returns:
        tuple of the rows that were moved, as they were found.

    Raises:
        KernelRefused: a thread refuses its mask.
    """
    moved = drifted(vm.run.rows)
    for row in moved:
        assert row.tid is not None
        _pin(row.tid, row.pin)
    if moved:
        look_at_threads(vm)
    return moved


def _pin(tid: int, pin: frozenset[int]) -> None:
    try:
        set_affinity(tid, pin)
    except KernelRefused as refusal:
        if refusal.code != "host.thread-gone":  # QEMU's workers come and go
            raise


def look_at_threads(vm: VmState) -> None:
    """Read every thread's affinity and hold it against the plan.

    Touches: /proc/PID/task, sched_getaffinity.
    """
    run = vm.run
    if run.plan is None or run.process is None or run.ids is None:
        return
    seen = threads_of(run.process.pid)
    if any(nic.vhost for nic in run.plan.nics) and not any(thread.name.startswith("vhost-") for thread in seen):
        # Before Linux 6.4 the workers are kernel threads, outside /proc/PID/task.
        workers = tuple(thread for thread in kernel_threads_of(run.process.pid) if thread.name.startswith("vhost-"))
        seen += workers
        run.ids = ThreadIds(run.ids.vcpus, run.ids.iothreads, frozenset(thread.tid for thread in workers))
    run.rows = thread_rows(run.plan, run.ids, seen, online_pcpus())
    in_place = {row.tid for row in run.rows if row.tid is not None and row.verdict == "ok"}
    run.seen_in_place = (run.seen_in_place | in_place) & {thread.tid for thread in seen}


async def _thread_ids(session: QmpSession, plan: VmPlan) -> ThreadIds:
    vcpus = await verbs.query_cpus_fast(session)
    iothreads = await verbs.query_iothreads(session) if plan.iothreads else ()
    return ThreadIds(
        {vcpu.vcpu_index: vcpu.thread_id for vcpu in vcpus},
        {iothread.id: iothread.thread_id for iothread in iothreads},
    )


def _report_repairs(events: EventLog, name: str, moved: Sequence[ThreadRow]) -> None:
    for row in moved:
        was, pin = format_cpulist(row.affinity), format_cpulist(row.pin)
        events.publish(
            "vm.thread-moved-back",
            f"{row.label} (thread {row.tid}) was on pCPUs {was} and is back on {pin}",
            name,
            {"thread": row.label, "tid": str(row.tid), "from": was, "to": pin},
        )
