"""Who is put back, who is only told, who is left alone: looks at one thread or at many, one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.truth.drift import (
    LEFT_ALONE_S,
    MOVES_LIMIT,
    SLOW_MOVES_LIMIT,
    SLOW_WINDOW_S,
    WINDOW_S,
    DriftMemory,
    FightLimit,
    GivenUp,
    Judgement,
    fought_tids,
    judge,
    judge_again_s,
    refused_tids,
    with_refused,
    with_settled,
)
from qsup.truth.threads import ThreadRow

PIN = frozenset({1})
HOME = ThreadRow("vcpu", "vcpu 0", 101, "CPU 0/KVM", PIN, PIN, "ok")
AWAY = evolve(HOME, affinity=frozenset({0}), verdict="drift")
FARTHER = evolve(HOME, affinity=frozenset({0, 1}), verdict="drift")


def after(looks: Sequence[tuple[float, ThreadRow]], *, repair: bool = True) -> Judgement:
    """The judgement of the last of these looks."""
    judged = Judgement({})
    for now_s, row in looks:
        judged = judge(judged.memory, [row], now_s, repair=repair)
    return judged


def test_a_thread_in_its_place_is_no_news() -> None:
    judged = after([(0, HOME), (1, HOME)])
    assert (judged.place, judged.moved, judged.reported, judged.given_up) == ((), (), (), ())


def test_a_new_thread_is_placed_without_a_word() -> None:
    judged = after([(0, AWAY)])
    assert (judged.place, judged.moved) == ((AWAY,), ())


def test_a_thread_that_was_at_home_was_moved() -> None:
    judged = after([(0, HOME), (1, AWAY)])
    assert judged.place == judged.moved == (AWAY,)


def test_a_thread_that_was_placed_and_is_there_is_settled_at_once() -> None:
    placed = judge({}, [AWAY], 0, repair=True)
    assert judge(with_settled(placed.memory, [HOME]), [AWAY], 1, repair=True).moved == (AWAY,)
    assert judge(with_settled(placed.memory, [FARTHER]), [AWAY], 1, repair=True).moved == ()


def test_of_a_vm_that_ran_unwatched_every_thread_elsewhere_was_moved() -> None:
    judged = judge({}, [AWAY], 0, repair=True, first_look=True)
    assert judged.place == judged.moved == (AWAY,)


def test_another_plan_moves_no_thread() -> None:
    elsewhere = evolve(HOME, pin=frozenset({0}), verdict="drift")
    judged = after([(0, HOME), (1, elsewhere)])
    assert (judged.place, judged.moved) == ((elsewhere,), ())


def test_without_repair_each_mask_is_reported_once() -> None:
    looks = [(0, HOME), (1, AWAY)]
    assert after(looks, repair=False).reported == (AWAY,)
    assert after([*looks, (2, AWAY)], repair=False).reported == ()
    assert after([*looks, (2, FARTHER)], repair=False).reported == (FARTHER,)
    assert after([*looks, (2, HOME), (3, AWAY)], repair=False).reported == (AWAY,)
    assert after([*looks, (2, AWAY)], repair=False).place == ()


def test_without_repair_new_threads_are_placed_all_the_same() -> None:
    assert after([(0, AWAY)], repair=False).place == (AWAY,)


def test_repair_that_is_switched_on_again_takes_effect() -> None:
    reported = after([(0, HOME), (1, AWAY)], repair=False)
    assert judge(reported.memory, [AWAY], 2, repair=True).moved == (AWAY,)


def fight(moves: int, every_s: float = 2.0) -> list[tuple[float, ThreadRow]]:
    """A thread that is moved so often, and each time found at home in between."""
    return [(every_s * step / 2, AWAY if step % 2 else HOME) for step in range(2 * moves)]


def test_a_thread_that_is_moved_again_and_again_is_left_alone_and_said_so_once() -> None:
    assert after(fight(MOVES_LIMIT)).moved == (AWAY,)
    judged = after(fight(MOVES_LIMIT + 1))
    assert (judged.place, judged.given_up) == ((), (GivenUp(AWAY, FightLimit(MOVES_LIMIT, WINDOW_S), 1.0),))
    assert fought_tids(judged.memory) == {101}
    later = judge(judged.memory, [AWAY], 30, repair=True)
    assert (later.place, later.given_up) == ((), ())


def test_a_new_thread_is_put_back_as_often_as_an_old_one() -> None:
    """Placing it was no move, whether it is seen in its place at once or at the next look."""
    placed = judge({}, [AWAY], 0, repair=True).memory
    for memory in (with_settled(placed, [HOME]), judge(placed, [HOME], 0.5, repair=True).memory):
        looks = [judge(memory, [AWAY], 1, repair=True)]
        while not looks[-1].given_up:
            memory = with_settled(looks[-1].memory, [HOME])
            looks.append(judge(memory, [AWAY], 1.0 + len(looks), repair=True))
        assert sum(len(judged.moved) for judged in looks) == MOVES_LIMIT


def test_slow_movers_are_given_up_after_more_moves() -> None:
    """One every 15 s, as an agent that balances now and then: it is put back so often as is said, and no more."""
    every_s = WINDOW_S / 4
    assert after(fight(SLOW_MOVES_LIMIT, every_s)).moved == (AWAY,)
    judged = after(fight(SLOW_MOVES_LIMIT + 1, every_s))
    (lost,) = judged.given_up
    assert (judged.place, lost.limit, lost.since_s) == ((), FightLimit(SLOW_MOVES_LIMIT, SLOW_WINDOW_S), every_s / 2)


def test_who_moves_a_thread_rarely_is_never_given_up_and_no_more_is_remembered_than_counts() -> None:
    every_s = SLOW_WINDOW_S / SLOW_MOVES_LIMIT + 1
    judged = after(fight(SLOW_MOVES_LIMIT * 4, every_s))
    assert judged.moved == (AWAY,)
    assert len(judged.memory[101].tried_s) <= SLOW_MOVES_LIMIT


def test_after_its_time_a_thread_is_put_back_again() -> None:
    judged = after(fight(MOVES_LIMIT + 1))
    ended_s = max(known.left_until_s for known in judged.memory.values())
    assert judge(judged.memory, [AWAY], ended_s - 0.1, repair=True).place == ()
    assert judge(judged.memory, [AWAY], ended_s, repair=True).moved == (AWAY,)


def test_placing_that_does_not_hold_is_given_up_as_well() -> None:
    clamped = [(float(second), AWAY) for second in range(MOVES_LIMIT + 1)]
    judged = after(clamped)
    assert (judged.place, judged.moved, [lost.row for lost in judged.given_up]) == ((), (), [AWAY])


def test_what_the_kernel_refuses_is_left_for_a_while_then_tried_again() -> None:
    memory = with_refused(judge({}, [AWAY], 0, repair=True).memory, [AWAY], 0)
    assert refused_tids(memory) == {101}
    stuck = evolve(AWAY, verdict="not placeable")
    kept = judge(memory, [stuck], 1, repair=True)
    assert refused_tids(kept.memory) == {101}
    later = judge(kept.memory, [stuck], LEFT_ALONE_S, repair=True)
    assert refused_tids(later.memory) == frozenset()
    assert judge(later.memory, [AWAY], LEFT_ALONE_S + 1, repair=True).place == (AWAY,)


@pytest.mark.parametrize("row", [evolve(HOME, tid=None, verdict="missing"), evolve(HOME, verdict="not placeable")])
def test_what_cannot_be_placed_is_not(row: ThreadRow) -> None:
    judged = after([(0, row), (1, row)])
    assert (judged.place, judged.moved, judged.given_up) == ((), (), ())


tids = st.integers(1, 5)
masks = st.sampled_from([frozenset({0}), frozenset({1}), frozenset({0, 1})])


@given(st.lists(st.lists(st.tuples(tids, masks), unique_by=lambda item: item[0]), max_size=60), st.booleans())
def test_whatever_is_seen(looks: list[list[tuple[int, frozenset[int]]]], repair: bool) -> None:
    """Nobody is put back more often than the limit says, nobody is both placed and left, and the dead are forgotten."""
    memory: DriftMemory = {}
    moves: dict[int, list[float]] = {}
    for second, look in enumerate(looks):
        rows = [ThreadRow("emulator", "emulator", tid, "t", PIN, mask, "ok" if mask == PIN else "drift") for tid, mask in look]
        judged = judge(memory, rows, float(second), repair=repair)
        memory = judged.memory
        assert set(memory) == {row.tid for row in rows}
        assert set(judged.moved) <= set(judged.place)
        assert not set(judged.place) & ({lost.row for lost in judged.given_up} | set(judged.reported))
        assert not {row.tid for row in judged.place} & fought_tids(memory)
        gone = moves.keys() - memory.keys()
        for tid in gone:
            del moves[tid]
        assert all(len(known.tried_s) <= SLOW_MOVES_LIMIT for known in memory.values())
        for row in judged.moved:
            assert row.tid is not None
            moves.setdefault(row.tid, []).append(second)
    for times in moves.values():
        assert all(sum(0 <= moment - at < WINDOW_S for at in times) <= MOVES_LIMIT for moment in times)


def test_what_rests_needs_no_further_judgement() -> None:
    assert judge_again_s(after([(0, HOME)]).memory, [HOME], 7) == math.inf
    reported = after([(0, HOME), (1, AWAY)], repair=False)
    assert judge_again_s(reported.memory, [AWAY], 7) == math.inf
    assert judge_again_s(reported.memory, [FARTHER], 7) == 7, "another mask is to be told"
    offline = evolve(AWAY, verdict="not placeable")
    assert judge_again_s({}, [offline], 7) == math.inf


def test_what_did_not_come_back_is_judged_again_at_once_and_what_is_left_alone_at_its_time() -> None:
    placed = after([(0, HOME), (1, AWAY)])
    assert judge_again_s(placed.memory, [AWAY], 2) == 2
    fought = after([(0, HOME), *((1 + turn, AWAY) for turn in range(MOVES_LIMIT + 1))])
    assert fought.given_up
    assert judge_again_s(fought.memory, [AWAY], 7) == 1 + MOVES_LIMIT + LEFT_ALONE_S
    refused = with_refused({}, [AWAY], 3)
    assert judge_again_s(refused, [evolve(AWAY, verdict="not placeable")], 7) == 3 + LEFT_ALONE_S
