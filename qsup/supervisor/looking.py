"""Looking at the threads of a VM: its own, and the kernel threads that work for it, held against the plan."""

from __future__ import annotations

from attrs import evolve

from qsup.host.affinity import read_thread, threads_of
from qsup.host.kernel_threads import kernel_threads_of
from qsup.host.topology import online_pcpus
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.drift import refused_tids
from qsup.truth.thread_facts import ThreadFacts
from qsup.truth.threads import ids_by_name, thread_rows

VHOST = "vhost-"


def look_at_threads(vm: VmState) -> None:
    """Read every thread's affinity and hold it against the plan.

    A VM that runs and whose QEMU has not told its thread ids to this daemon is looked at by the names of its threads.

    Touches: /proc/PID/task, sched_getaffinity.
    """
    run = vm.run
    if run.plan is None or run.process is None or (run.ids is None and not run.started):
        return
    kernel = known_kernel_threads(run)
    own = threads_of(run.process.pid)
    seen = own + kernel
    run.truth.process_threads, run.truth.masks = len(own), tuple((thread.tid, thread.affinity) for thread in seen)
    ids = run.ids if run.ids is not None else ids_by_name(run.plan, seen)
    workers = frozenset(thread.tid for thread in kernel if thread.name.startswith(VHOST))
    ids = evolve(ids, vhost_kthreads=workers, kernel_helpers=frozenset(thread.tid for thread in kernel) - workers)
    if run.ids is not None:
        run.ids = ids
    run.rows = thread_rows(run.plan, ids, seen, online_pcpus(), refused_tids(run.truth.drift))
    realtime = {row.tid for row in run.rows if row.fifo_priority is not None} if run.plan.realtime_vcpus else ()
    run.truth.schedulers = tuple((thread.tid, thread.policy, thread.rt_priority) for thread in own if thread.tid in realtime)


def known_kernel_threads(run: RunSide) -> tuple[ThreadFacts, ...]:
    """The kernel threads that the last scan found and that are still there. One id costs two small files, a scan hundreds."""
    found = (read_thread(tid, tid, kernel=True) for tid in run.truth.kernel_threads)
    return tuple(thread for thread in found if thread is not None and thread.name == run.truth.kernel_threads[thread.tid])


def scan_kernel_threads(run: RunSide, now_s: float) -> None:
    """Look for the kernel threads that work for the VM: its vhost workers before Linux 6.4, kvm-pit, …

    Touches: /proc/2/task/2/children, the names of all kernel threads. Some milliseconds: in a worker thread once it runs.
    """
    if run.process is not None:
        found = kernel_threads_of(run.process.pid)
        run.truth.kernel_threads = {thread.tid: thread.name for thread in found}
        run.truth.scanned_s = now_s


def lacks_vhost_workers(run: RunSide) -> bool:
    """Fewer vhost workers are known than its nics have queues."""
    if run.plan is None or run.process is None:
        return False
    wanted = sum(nic.queues for nic in run.plan.nics if nic.vhost)
    if not wanted:
        return False
    own = sum(thread.name.startswith(VHOST) for thread in threads_of(run.process.pid))
    return own + sum(name.startswith(VHOST) for name in run.truth.kernel_threads.values()) < wanted
