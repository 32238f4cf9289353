"""Keeping the threads of a running VM in their places: look, judge, put back, say so. No monitor is needed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from qsup.cpuset import format_cpulist
from qsup.errors import KernelRefused
from qsup.host.affinity import set_affinity, set_realtime
from qsup.host.cgroup import cpuset_of
from qsup.host.topology import online_pcpus
from qsup.supervisor.looking import look_at_threads, scan_kernel_threads
from qsup.supervisor.observe import rules_of
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.drift import LEFT_ALONE_S, MOVES_LIMIT, WINDOW_S, judge, judge_again_s, with_refused, with_settled
from qsup.truth.suspects import Scene, suspects_of
from qsup.truth.threads import ThreadRow

SCAN_INTERVAL_S = 10.0
_NO_REPAIR = "it is left there, as [vm] repair = false says"


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
    if moved or judged.reported or judged.given_up:
        await _tell(services, vm, moved, judged.reported, judged.given_up)
    else:
        _note_scene(run)
    _tell_refused(services, vm, refused)


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


def _note_scene(run: RunSide) -> None:
    """Keep what holds while all is well; the cpuset is read once, and again after somebody moved threads."""
    run.truth.online = online_pcpus()
    if run.truth.cpuset is None and run.process is not None:
        run.truth.cpuset = cpuset_of(run.process.pid)


async def _tell(
    services: Services,
    vm: VmState,
    moved: Sequence[ThreadRow],
    reported: Sequence[ThreadRow],
    given_up: Sequence[ThreadRow],
) -> None:
    run = vm.run
    cpuset = cpuset_of(run.process.pid) if run.process is not None else None
    scene = Scene(online_pcpus(), run.truth.online or online_pcpus(), cpuset, run.truth.cpuset)
    run.truth.online, run.truth.cpuset = scene.online, cpuset
    now_in_force = {row.tid: row for row in run.rows}
    agents = await services.agents.facts()
    for row in moved:
        _tell_moved(services, vm, row, now_in_force.get(row.tid, row))
    for row in reported:
        _tell_reported(services, vm, row)
    for row in given_up:
        suspects = "; or ".join(suspects_of(row, scene, agents))
        message = (
            f"{_name(row)} {_how_it_left(row)} more than {MOVES_LIMIT} times in {WINDOW_S:.0f} s and is {_where(row)} now: "
            f"left alone for {LEFT_ALONE_S / 60:.0f} min. Likely: {suspects}"
        )
        fields = _scheduler_fields(row, row.planned_scheduler, row.scheduler) if _only_demoted(row) else _moved_fields(row)
        services.events.publish("vm.thread-left-alone", message, vm.name, {**fields, "suspects": suspects})


def _tell_moved(services: Services, vm: VmState, row: ThreadRow, now: ThreadRow) -> None:
    if not _only_demoted(row):
        message = f"{_name(row)} was on pCPUs {_list(row.affinity)} and {_outcome(row, now)}"
        services.events.publish("vm.thread-moved-back", message, vm.name, _fields(row, row.affinity, now.affinity))
    if row.is_demoted:
        back = "is back at" if now is row or not now.is_demoted else "does not come back to"
        message = f"{_name(row)} was under {row.scheduler} and {back} {row.planned_scheduler}"
        to = row.planned_scheduler if now is row else now.scheduler
        services.events.publish("vm.priority-restored", message, vm.name, _scheduler_fields(row, row.scheduler, to))


def _tell_reported(services: Services, vm: VmState, row: ThreadRow) -> None:
    if not _only_demoted(row):
        message = f"{_name(row)} was moved from pCPUs {_list(row.pin)} to {_list(row.affinity)}: {_NO_REPAIR}"
        services.events.publish("vm.thread-moved", message, vm.name, _moved_fields(row))
    if row.is_demoted:
        message = f"{_name(row)} was put from {row.planned_scheduler} under {row.scheduler}: {_NO_REPAIR}"
        fields = _scheduler_fields(row, row.planned_scheduler, row.scheduler)
        services.events.publish("vm.priority-lost", message, vm.name, fields)


def _only_demoted(row: ThreadRow) -> bool:
    """It is in its place and has another priority than planned."""
    return row.is_demoted and not row.is_elsewhere


def _how_it_left(row: ThreadRow) -> str:
    return f"lost its {row.planned_scheduler}" if _only_demoted(row) else f"left its pCPUs {_list(row.pin)}"


def _where(row: ThreadRow) -> str:
    return f"under {row.scheduler}" if _only_demoted(row) else f"on {_list(row.affinity)}"


def _outcome(row: ThreadRow, now: ThreadRow) -> str:
    if now.verdict in ("ok", "missing") or now is row:
        return f"is back on {_list(row.pin)}"
    return f"does not come back to {_list(row.pin)}: the kernel gives it {_list(now.affinity)}"


def _tell_refused(services: Services, vm: VmState, refused: Sequence[ThreadRow]) -> None:
    """Once for each class of thread: io-wq workers come and go by the dozen."""
    for row in refused:
        if row.thread_class not in vm.run.truth.refusals_told:
            vm.run.truth.refusals_told.add(row.thread_class)
            message = f"{_name(row)} stays on pCPUs {_list(row.affinity)}: the kernel refuses to put it on {_list(row.pin)}"
            fields = _fields(row, row.affinity, row.affinity)
            if _only_demoted(row):
                message = f"{_name(row)} stays under {row.scheduler}: the kernel refuses it {row.planned_scheduler}"
                fields = _scheduler_fields(row, row.scheduler, row.scheduler)
            services.events.publish("vm.thread-not-placeable", message, vm.name, fields)


def _name(row: ThreadRow) -> str:
    return f"{row.label} (thread {row.tid})"


def _list(pcpus: frozenset[int]) -> str:
    return format_cpulist(pcpus)


def _moved_fields(row: ThreadRow) -> Mapping[str, str]:
    return _fields(row, row.pin, row.affinity)


def _fields(row: ThreadRow, before: frozenset[int], after: frozenset[int]) -> Mapping[str, str]:
    return _scheduler_fields(row, _list(before), _list(after))


def _scheduler_fields(row: ThreadRow, before: str, after: str) -> Mapping[str, str]:
    return {
        "thread": row.label,
        "class": row.thread_class,
        "tid": str(row.tid),
        "name": row.name,
        "from": before,
        "to": after,
    }
