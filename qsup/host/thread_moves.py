"""How often threads changed their pCPU: the dearest question about a thread, asked only where the answer may matter."""

from __future__ import annotations

from qsup.host.thread_counters import moves_of
from qsup.truth.wait_samples import Counters, Thread

_Row = tuple[Thread, Counters]


def with_moves(tid: int, counters: Counters) -> Counters:
    """The counters, and how often the thread changed its pCPU and was taken off one.

    Touches: /proc/TID/sched.
    """
    migrations, involuntary = moves_of(tid)
    return counters._replace(migrations=migrations, involuntary=involuntary)


def moves_where_due(tid: int, row: _Row, old: _Row | None, asked: bool, least_ns: float) -> _Row:
    """The row of a thread with its moves, as far as they are needed.

    They stay as they were, unread, where it has not run since. Where nobody asks, or it ran for less than `least_ns` and so
    made nobody wait, its older count of migrations stays: a move meanwhile is told at the next reading, never lost.

    Args:
        old: the row before, None of a thread that was not there.

    Touches: /proc/TID/sched.
    """
    thread, now = row
    if old is None or old[1].migrations is None:
        return (thread, with_moves(tid, now)) if asked and not _slept(old, now) else row
    if _slept(old, now):
        same = now._replace(migrations=old[1].migrations, involuntary=old[1].involuntary)
        return thread, old[1] if same == old[1] else same
    if not asked or now.run_ns - old[1].run_ns < least_ns:
        return thread, now._replace(migrations=old[1].migrations)
    return thread, with_moves(tid, now)


def _slept(old: _Row | None, now: Counters) -> bool:
    return old is not None and old[1].timeslices == now.timeslices and old[1].run_ns == now.run_ns
