"""What is said of threads that left their places: where each one was and is, and who is likely to have done it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsup.cpuset import format_cpulist
from qsup.supervisor.events import EventLog
from qsup.supervisor.vm_state import VmState
from qsup.truth.drift import LEFT_ALONE_S, FightLimit, GivenUp
from qsup.truth.threads import ThreadRow

_NO_REPAIR = "it is left there, as [vm] repair = false says"


def tell_moved(events: EventLog, vm: VmState, row: ThreadRow, now: ThreadRow, suspects: Sequence[str]) -> None:
    """Somebody moved it, and it was put back; `now`: as it is since."""
    if not _only_demoted(row):
        message = f"{_name(row)} was on pCPUs {_list(row.affinity)} and {_outcome(row, now)}. {_likely(suspects)}"
        fields = _with_suspects(_fields(row, row.affinity, now.affinity), suspects)
        events.publish("vm.thread-moved-back", message, vm.name, fields)
    if row.is_demoted:
        back = "is back at" if now is row or not now.is_demoted else "does not come back to"
        message = f"{_name(row)} was under {row.scheduler} and {back} {row.planned_scheduler}"
        to = row.planned_scheduler if now is row else now.scheduler
        events.publish("vm.priority-restored", message, vm.name, _scheduler_fields(row, row.scheduler, to))


def tell_reported(events: EventLog, vm: VmState, row: ThreadRow, suspects: Sequence[str]) -> None:
    """Somebody moved it, and there it stays."""
    if not _only_demoted(row):
        moved = f"{_name(row)} was moved from pCPUs {_list(row.pin)} to {_list(row.affinity)}"
        message = f"{moved}: {_NO_REPAIR}. {_likely(suspects)}"
        events.publish("vm.thread-moved", message, vm.name, _with_suspects(_moved_fields(row), suspects))
    if row.is_demoted:
        message = f"{_name(row)} was put from {row.planned_scheduler} under {row.scheduler}: {_NO_REPAIR}"
        fields = _scheduler_fields(row, row.planned_scheduler, row.scheduler)
        events.publish("vm.priority-lost", message, vm.name, fields)


def tell_left_alone(events: EventLog, vm: VmState, lost: GivenUp, suspects: Sequence[str]) -> None:
    """Somebody moves it again and again, and wins for a while."""
    row = lost.row
    message = (
        f"{_name(row)} {_how_it_left(row)} {_how_often(lost.limit)} and is {_where(row)} now: "
        f"left alone for {LEFT_ALONE_S / 60:.0f} min. {_likely(suspects)}"
    )
    fields = _scheduler_fields(row, row.planned_scheduler, row.scheduler) if _only_demoted(row) else _moved_fields(row)
    events.publish("vm.thread-left-alone", message, vm.name, _with_suspects(fields, suspects))


def tell_refused(events: EventLog, vm: VmState, refused: Sequence[ThreadRow]) -> None:
    """Once for each class of thread: io-wq workers come and go by the dozen."""
    for row in refused:
        if row.thread_class not in vm.run.truth.refusals_told:
            vm.run.truth.refusals_told.add(row.thread_class)
            message = f"{_name(row)} stays on pCPUs {_list(row.affinity)}: the kernel refuses to put it on {_list(row.pin)}"
            fields = _fields(row, row.affinity, row.affinity)
            if _only_demoted(row):
                message = f"{_name(row)} stays under {row.scheduler}: the kernel refuses it {row.planned_scheduler}"
                fields = _scheduler_fields(row, row.scheduler, row.scheduler)
            events.publish("vm.thread-not-placeable", message, vm.name, fields)


def _only_demoted(row: ThreadRow) -> bool:
    """It is in its place and has another priority than planned."""
    return row.is_demoted and not row.is_elsewhere


def _how_it_left(row: ThreadRow) -> str:
    return f"lost its {row.planned_scheduler}" if _only_demoted(row) else f"left its pCPUs {_list(row.pin)}"


def _how_often(limit: FightLimit) -> str:
    time = f"{limit.within_s:.0f} s" if limit.within_s <= 60 else f"{limit.within_s / 60:.0f} min"
    return f"more than {limit.moves} times in {time}"


def _where(row: ThreadRow) -> str:
    return f"under {row.scheduler}" if _only_demoted(row) else f"on {_list(row.affinity)}"


def _outcome(row: ThreadRow, now: ThreadRow) -> str:
    if now.verdict in ("ok", "missing") or now is row:
        return f"is back on {_list(row.pin)}"
    return f"does not come back to {_list(row.pin)}: the kernel gives it {_list(now.affinity)}"


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


def _likely(suspects: Sequence[str]) -> str:
    return f"Likely: {_joined(suspects)}"


def _with_suspects(fields: Mapping[str, str], suspects: Sequence[str]) -> Mapping[str, str]:
    return {**fields, "suspects": _joined(suspects)}


def _joined(suspects: Sequence[str]) -> str:
    return "; or ".join(suspects)
