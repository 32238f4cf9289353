"""What one thread did between two samples: how long it ran, how long it waited, and whether it stayed on its pCPU.

Strategy: a counter that went back, a thread id that is somebody else by now and a thread that was not there before
tell nothing, and give None instead of a number. A wait that is still going on is not in the kernel's counter yet: it is
counted when a thread stood runnable all the time and others demonstrably ran on its pCPU, and then remembered as told
(Credits), so that it is not counted again when the kernel adds it. Source: kernel/sched/stats.h, sched_info_arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qsup.truth.wait_samples import Counters, HostSample, Thread, ThreadKey

Credits = Mapping[ThreadKey, int]
_RUNNABLE = "R"
_RAN = slice(Counters._fields.index("run_ns"), Counters._fields.index("timeslices") + 1)


class Spent(NamedTuple):
    """One thread over one span; a NamedTuple, since thousands are made in each cycle.

    `stayed`: all of it happened on `pcpu`; `sure`: whether it did is certain. `stuck`: runnable, but not once on a pCPU.
    `settled`: the kernel has added to the waited time since.
    """

    key: ThreadKey
    thread: Thread
    pcpu: int
    run_ns: int
    wait_ns: int
    stayed: bool
    sure: bool
    stuck: bool = False
    settled: bool = False
    involuntary: int | None = None

    @property
    def unlooked(self) -> bool:
        """How often it moves has been read for the first time: it may have stayed, and nobody can tell."""
        return not self.stayed and not self.sure


def spent_of(key: ThreadKey, before: HostSample, after: HostSample, *, other: bool = False) -> Spent | None:
    """What this thread of `after` did since `before`, or None where that cannot be told.

    Args:
        other: look among the threads that are no VM's.
    """
    news, olds = (after.others or {}, before.others or {}) if other else (after.threads, before.threads)
    thread, now = news[key]
    old = olds.get(key)
    then = old[1] if old is not None else _birth(key, now, before)
    if then is None:
        return None
    run_ns, delay_ns = now.run_ns - then.run_ns, now.delay_ns - then.delay_ns
    slices = now.timeslices - then.timeslices
    if min(run_ns, delay_ns, slices) < 0:
        return None
    stayed, sure = _stayed(then, now)
    span_ns = after.at_ns - before.at_ns
    stuck = run_ns == 0 and slices == 0 and delay_ns == 0 and then.state == now.state == _RUNNABLE
    switches = _grown(then.involuntary, now.involuntary)
    return Spent(
        key, thread, now.pcpu, min(run_ns, span_ns), delay_ns, stayed, sure, stuck, delay_ns > 0 or slices > 0, switches
    )


def may_wait(then: Counters, now: Counters, least_ns: float) -> bool:
    """Whether a thread waited for so long, or seems to: a quick look, where most threads did nothing."""
    if now.delay_ns - then.delay_ns >= least_ns:
        return True
    return now.state == then.state == _RUNNABLE and now[_RAN] == then[_RAN]


def _birth(key: ThreadKey, now: Counters, before: HostSample) -> Counters | None:
    """The counters of a thread that was born in the span: nothing yet. An older one that was never looked at: unknown."""
    if key[1] < before.at_ticks:
        return None
    return Counters(now.pcpu, "", 0, 0, 0, now.fixed, None if now.migrations is None else 0, None)


def _stayed(then: Counters, now: Counters) -> tuple[bool, bool]:
    """(it was on this pCPU all the time, that is certain): only likely where nobody ever read how often it moves.

    Neither, where that was read at one of the two moments only: `Spent.unlooked`.
    """
    if then.pcpu != now.pcpu:
        return False, True
    if then.migrations is not None and now.migrations is not None:
        # Also where both masks were of one pCPU: in between it may have been another.
        return then.migrations == now.migrations, True
    if then.fixed and now.fixed:
        return True, True
    return then.migrations is None and now.migrations is None, False


def _grown(then: int | None, now: int | None) -> int | None:
    return now - then if then is not None and now is not None and now >= then else None


def waited_ns(spent: Spent, span_ns: int, told_ns: int, others_ran_ns: int) -> tuple[int, int]:
    """(how long it waited in this span, how much of its waiting has been told ahead of the kernel's counter).

    Args:
        told_ns: what had been told ahead so far.
        others_ran_ns: how long others ran on its pCPU, as far as that is known.
    """
    if spent.stuck and others_ran_ns * 2 >= span_ns:
        return span_ns, told_ns + span_ns
    if not spent.settled:
        return 0, told_ns
    return min(max(spent.wait_ns - told_ns, 0), span_ns), 0
