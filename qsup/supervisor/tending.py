"""Keeping the threads of a running VM in their places: look, judge, put back, say so. No monitor is needed for it."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from qsup.errors import KernelRefused
from qsup.host.affinity import set_affinity, set_realtime
from qsup.host.cgroup import cpuset_of
from qsup.host.topology import online_pcpus
from qsup.supervisor.looking import look_at_threads, scan_kernel_threads
from qsup.supervisor.observe import rules_of
from qsup.supervisor.services import Services
from qsup.supervisor.thread_events import tell_left_alone, tell_moved, tell_refused, tell_reported
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.drift import WINDOW_S, GivenUp, judge, judge_again_s, with_refused, with_settled
from qsup.truth.suspects import Scene, suspects_of
from qsup.truth.threads import ThreadRow

SCAN_INTERVAL_S = 10.0
CPUSET_INTERVAL_S = 60.0


async def tend_threads(services: Services, vm: VmState) -> None:
    """One look at a VM's threads; where it runs, those that left their places are put back.

    Touches: /proc/PID/task, sched_getaffinity, sched_setaffinity; the names of kernel threads after a start, then rarely.
    """
    look_at_threads(vm)
    if not vm.run.started:
        return
    await keep_in_place(services, vm)
    await _scan_where_due(vm.run)


async def _scan_where_due(run: RunSide) -> None:
    now_s = trio.current_time()
    truth = run.truth
    if truth.scanned_s is not None and not _is_stale(run):
        return
    if truth.scanned_s is None or now_s - truth.scanned_s > SCAN_INTERVAL_S:
        await trio.to_thread.run_sync(scan_kernel_threads, run, now_s)
        truth.judge_again_s = now_s  # what was found is looked at next
    else:
        truth.judge_again_s = min(truth.judge_again_s, truth.scanned_s + SCAN_INTERVAL_S)


def _is_stale(run: RunSide) -> bool:
    """A kernel thread that was known is gone, or the last look found fewer vhost workers than the nics have queues."""
    seen = {row.tid for row in run.rows}
    wanted = sum(nic.queues for nic in run.plan.nics if nic.vhost) if run.plan is not None else 0
    return not run.truth.kernel_threads.keys() <= seen or sum(row.thread_class == "vhost" for row in run.rows) < wanted


async def keep_in_place(services: Services, vm: VmState) -> None:
    """Judge the rows of the last look and act on it. The threads are back before anything is said."""
    run = vm.run
    truth = run.truth
    now_s = trio.current_time()
    first_look = run.adopted and not truth.drift
    truth.repairing = rules_of(vm).repair
    judged = judge(truth.drift, run.rows, now_s, repair=truth.repairing, first_look=first_look)
    refused = [row for row in judged.place if not _put(row)]
    truth.drift = with_refused(judged.memory, refused, now_s)
    if judged.place:
        look_at_threads(vm)
        truth.drift = with_settled(truth.drift, run.rows)
    truth.judge_again_s = judge_again_s(truth.drift, run.rows, now_s)
    moved = [row for row in judged.moved if row not in refused]
    truth.repairs += len(moved)
    to_tell = bool(moved or judged.reported or judged.given_up)
    _note_scene(run, now_s, asked=to_tell)
    if to_tell:
        await _tell(services, vm, moved, judged.reported, judged.given_up)
    tell_refused(services.events, vm, refused)


def _put(row: ThreadRow) -> bool:
    """Pin one thread and give it its priority; False where the kernel does not let it."""
    assert row.tid is not None
    try:
        set_affinity(row.tid, row.pin)
        if row.fifo_priority is not None and row.is_demoted:  # after the pin: it keeps others from running wherever it is
            set_realtime(row.tid, row.fifo_priority)
    except KernelRefused as refusal:
        return refusal.code == "host.thread-gone"  # QEMU's workers come and go
    return True


def _note_scene(run: RunSide, now_s: float, *, asked: bool) -> None:
    """Keep what may rewrite masks, with what it was before: a thread may be seen elsewhere only some time afterwards.

    Its cpuset takes most of a millisecond: it is read where somebody asks, else at most once in a while.
    """
    truth = run.truth
    truth.online = truth.online.noted(online_pcpus(), now_s)
    if run.process is not None and (asked or now_s - truth.cpuset_read_s >= CPUSET_INTERVAL_S):
        truth.cpuset = truth.cpuset.noted(cpuset_of(run.process.pid), now_s)
        truth.cpuset_read_s = now_s


async def _tell(
    services: Services, vm: VmState, moved: Sequence[ThreadRow], reported: Sequence[ThreadRow], given_up: Sequence[GivenUp]
) -> None:
    """Who is likely to have done it is looked up only now, when the threads are back."""
    run, events = vm.run, services.events
    scene = _scene_since(run, trio.current_time() - WINDOW_S)
    now_in_force = {row.tid: row for row in run.rows}
    agents = await services.agents.facts()
    for row in moved:
        tell_moved(events, vm, row, now_in_force.get(row.tid, row), suspects_of(row, scene, agents))
    for row in reported:
        tell_reported(events, vm, row, suspects_of(row, scene, agents))
    for lost in given_up:
        of_the_fight = _scene_since(run, lost.since_s - WINDOW_S)
        tell_left_alone(events, vm, lost, suspects_of(lost.row, of_the_fight, agents))


def _scene_since(run: RunSide, since_s: float) -> Scene:
    online, cpuset = run.truth.online, run.truth.cpuset
    return Scene(
        online=online.now or frozenset(),
        online_before=online.before(since_s) or frozenset(),
        cpuset=cpuset.now,
        cpuset_before=cpuset.before(since_s),
    )
