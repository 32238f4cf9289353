"""Place threads: pin every thread as recorded and read back what the kernel says."""

from __future__ import annotations

import trio

from qsup.errors import KernelRefused
from qsup.host.affinity import set_affinity, set_realtime
from qsup.plan.vmplan import VmPlan
from qsup.qmp import verbs
from qsup.qmp.session import QmpSession
from qsup.supervisor.looking import lacks_vhost_workers, look_at_threads, scan_kernel_threads
from qsup.supervisor.services import Services
from qsup.supervisor.tending import keep_in_place
from qsup.supervisor.vm_state import VmState
from qsup.truth.drift import judge, with_refused
from qsup.truth.threads import LATE_CLASSES, ThreadIds, ThreadRow, drifted


async def place_threads(services: Services, vm: VmState) -> None:
    """Put every thread that QMP and /proc name onto its pin and read all of them back.

    Touches: sched_setaffinity, sched_setscheduler of the VM's threads; QMP query-cpus-fast, query-iothreads.

    Raises:
        QmpLost, QmpRefused: the thread ids could not be had.
        KernelRefused: a thread refuses its mask or its priority, before the guest's first instruction.
    """
    run = vm.run
    assert run.plan is not None
    assert run.link is not None
    if run.ids is None or any(row.verdict == "missing" for row in run.rows):
        run.ids = await _thread_ids(run.link.require_control(), run.plan)
    if run.started:
        async with vm.looking:
            look_at_threads(vm)
            await keep_in_place(services, vm)
        return
    if lacks_vhost_workers(run):
        scan_kernel_threads(run, trio.current_time())
    look_at_threads(vm)
    put_back(vm)
    if run.plan.realtime_vcpus:
        _make_realtime(run.plan, run.ids)
        look_at_threads(vm)
    # What was read back in its place is remembered as such: a thread that leaves it, however soon, was moved.
    run.truth.drift = judge(run.truth.drift, run.rows, trio.current_time(), repair=True).memory


def put_back(vm: VmState) -> None:
    """Pin the threads that the last look found elsewhere, and look again.

    Raises:
        KernelRefused: a thread that the guest needs refuses its mask.
    """
    moved = drifted(vm.run.rows)
    refused = [row for row in moved if not _is_pinned(row)]
    vm.run.truth.drift = with_refused(vm.run.truth.drift, refused, trio.current_time())
    if moved:
        look_at_threads(vm)


def _make_realtime(plan: VmPlan, ids: ThreadIds) -> None:
    """After the pins: a real-time thread keeps others from running wherever it is."""
    for vcpu_index in sorted(plan.realtime_vcpus & ids.vcpus.keys()):
        assert plan.realtime_priority is not None
        set_realtime(ids.vcpus[vcpu_index], plan.realtime_priority)


def _is_pinned(row: ThreadRow) -> bool:
    assert row.tid is not None
    try:
        set_affinity(row.tid, row.pin)
    except KernelRefused as refusal:
        if refusal.code == "host.thread-gone":  # QEMU's workers come and go
            return True
        if row.thread_class not in LATE_CLASSES:
            raise
        return False
    return True


async def _thread_ids(session: QmpSession, plan: VmPlan) -> ThreadIds:
    vcpus = await verbs.query_cpus_fast(session)
    iothreads = await verbs.query_iothreads(session) if plan.iothreads else ()
    return ThreadIds(
        {vcpu.vcpu_index: vcpu.thread_id for vcpu in vcpus},
        {iothread.id: iothread.thread_id for iothread in iothreads},
    )
