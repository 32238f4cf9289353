"""Drift, judged over time: a thread that left its place is put back, and one that is fought over is left alone.

Strategy: `judge` looks at the rows of one look together with what is remembered of each thread, and returns both what to do
now and what to remember. A thread that was never seen where it belongs is new (it begins with its maker's mask): placing it is
no news. One that was, and is elsewhere now, was moved by somebody. A real-time thread that lost its priority is elsewhere, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import evolve, field, frozen

from qsup.truth.threads import ThreadRow

WINDOW_S = 60.0
MOVES_LIMIT = 5
SLOW_WINDOW_S = 3600.0
SLOW_MOVES_LIMIT = 20
LEFT_ALONE_S = 600.0
"""Seconds for which a thread is left alone that others keep moving, or that the kernel does not let be placed."""

Left = Literal["no", "fought", "refused"]


@frozen
class FightLimit:
    """So often within so many seconds a thread is put back; the next time it is left alone."""

    moves: int
    within_s: float


FIGHT_LIMITS = (FightLimit(MOVES_LIMIT, WINDOW_S), FightLimit(SLOW_MOVES_LIMIT, SLOW_WINDOW_S))
"""The second one is for whoever moves it only now and then, and for ever."""


@frozen
class ThreadMemory:
    """What is remembered of one thread: times are monotonic seconds of the observer's clock.

    `pin`: the pin that it had then; another one is another plan. `settled`: it was seen in its place. `tried_s`: when it was
    put there lately, never more moments than the limits count; placing a new thread is forgotten once it is there. `reported`:
    the mask and scheduler that were last reported and not repaired.
    """

    pin: frozenset[int]
    settled: bool
    tried_s: tuple[float, ...] = ()
    left: Left = "no"
    left_until_s: float = 0.0
    reported: tuple[frozenset[int], str] | None = None


DriftMemory = Mapping[int, ThreadMemory]
"""By thread id; threads that are gone are forgotten."""


@frozen
class GivenUp:
    """A thread that is left alone from now on: beyond which limit it was moved, and when the first of these moves was seen."""

    row: ThreadRow
    limit: FightLimit
    since_s: float


@frozen
class Judgement:
    """What to do with the threads that are elsewhere, as tuples of their rows, and what to remember.

    `place`: put them on their pins. `moved`: those of them that somebody moved. `reported`: moved, and only told.
    `given_up`: moved so often that they are left alone from now on.
    """

    memory: DriftMemory
    place: tuple[ThreadRow, ...] = ()
    moved: tuple[ThreadRow, ...] = ()
    reported: tuple[ThreadRow, ...] = ()
    given_up: tuple[GivenUp, ...] = ()


@frozen
class _Sorted:
    place: list[ThreadRow] = field(factory=list)
    moved: list[ThreadRow] = field(factory=list)
    reported: list[ThreadRow] = field(factory=list)
    given_up: list[GivenUp] = field(factory=list)


def judge(memory: DriftMemory, rows: Iterable[ThreadRow], now_s: float, *, repair: bool, first_look: bool = False) -> Judgement:
    """Judge one look at a VM's threads.

    Args:
        repair: moved threads are put back; without it they are reported, once for each mask that they get.
        first_look: the VM ran before anybody looked, so a thread that is elsewhere was moved meanwhile.
    """
    kept: dict[int, ThreadMemory] = {}
    out = _Sorted()
    for row in rows:
        if row.tid is None:
            continue
        known = _known(memory.get(row.tid), row, now_s)
        if known is None and first_look:
            known = ThreadMemory(row.pin, settled=True)
        if row.verdict == "drift":
            kept[row.tid] = _judge_drifted(known, row, now_s, repair, out)
        elif row.verdict == "ok":
            kept[row.tid] = evolve(_settled(known or ThreadMemory(row.pin, settled=True)), reported=None)
        elif known is not None:
            kept[row.tid] = known
    return Judgement(kept, tuple(out.place), tuple(out.moved), tuple(out.reported), tuple(out.given_up))


def _known(known: ThreadMemory | None, row: ThreadRow, now_s: float) -> ThreadMemory | None:
    """What is remembered and still counts."""
    if known is None or known.pin != row.pin:
        return None
    recent = tuple(moment for moment in known.tried_s if now_s - moment < SLOW_WINDOW_S)
    if known.left != "no" and now_s >= known.left_until_s:
        return evolve(known, left="no", tried_s=recent)
    return evolve(known, tried_s=recent)


def _judge_drifted(known: ThreadMemory | None, row: ThreadRow, now_s: float, repair: bool, out: _Sorted) -> ThreadMemory:
    if known is None:
        out.place.append(row)
        return ThreadMemory(row.pin, settled=False, tried_s=(now_s,))
    if known.left != "no":
        return known
    if known.settled and not repair:
        if known.reported != (row.affinity, row.scheduler):
            out.reported.append(row)
        return evolve(known, reported=(row.affinity, row.scheduler))
    lost = _lost_fight(known, row, now_s)
    if lost is not None:
        out.given_up.append(lost)
        return evolve(known, left="fought", left_until_s=now_s + LEFT_ALONE_S, tried_s=())
    out.place.append(row)
    if known.settled:
        out.moved.append(row)
    return evolve(known, tried_s=(*known.tried_s, now_s), reported=None)


def _lost_fight(known: ThreadMemory, row: ThreadRow, now_s: float) -> GivenUp | None:
    for limit in FIGHT_LIMITS:
        counted = [moment for moment in known.tried_s if now_s - moment < limit.within_s]
        if len(counted) >= limit.moves:
            return GivenUp(row, limit, counted[0])
    return None


def _settled(known: ThreadMemory) -> ThreadMemory:
    """It is where it belongs; if for the first time, then so far it was placed, and not moved by anybody."""
    return known if known.settled else evolve(known, settled=True, tried_s=())


def with_settled(memory: DriftMemory, rows: Iterable[ThreadRow]) -> DriftMemory:
    """The memory after a look that followed at once: what was placed and is there now is settled."""
    there = {row.tid for row in rows if row.verdict == "ok"}
    return {tid: _settled(known) if tid in there else known for tid, known in memory.items()}


def with_refused(memory: DriftMemory, refused: Iterable[ThreadRow], now_s: float) -> DriftMemory:
    """The memory after the kernel refused to place these threads: they are left alone for a while."""
    left = {
        row.tid: ThreadMemory(row.pin, settled=False, left="refused", left_until_s=now_s + LEFT_ALONE_S)
        for row in refused
        if row.tid is not None
    }
    return {**memory, **left}


def judge_again_s(memory: DriftMemory, rows: Iterable[ThreadRow], now_s: float) -> float:
    """The moment from which judging may come to something else although no thread moves; infinite where there is none."""
    moments = (_judge_again_s(memory.get(row.tid), row, now_s) for row in rows if row.tid is not None and row.verdict != "ok")
    return min(moments, default=math.inf)


def _judge_again_s(known: ThreadMemory | None, row: ThreadRow, now_s: float) -> float:
    if known is not None and known.left != "no":
        return known.left_until_s
    if row.verdict != "drift" or (known is not None and known.reported == (row.affinity, row.scheduler)):
        return math.inf
    return now_s


def refused_tids(memory: DriftMemory) -> frozenset[int]:
    """The threads that the kernel does not let be placed."""
    return frozenset(tid for tid, known in memory.items() if known.left == "refused")


def fought_tids(memory: DriftMemory) -> frozenset[int]:
    """The threads that are left alone because somebody keeps moving them."""
    return frozenset(tid for tid, known in memory.items() if known.left == "fought")
