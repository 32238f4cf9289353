"""When a thread is asked how often it moved: seldom, and no move is lost by that."""

from __future__ import annotations

import pytest

from qsup.host import thread_moves
from qsup.host.thread_moves import moves_where_due
from qsup.truth.wait_samples import Counters, Thread

THREAD = Thread("web1 kvm-pit", "web1", "kernel", "kvm-pit")
KNOWN = Counters(1, "S", run_ns=1000, delay_ns=0, timeslices=10, migrations=3, involuntary=7)
LEAST_NS = 500.0


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that were asked; each has moved five times."""
    asked: list[int] = []

    def moves_of(tid: int) -> tuple[int, int]:
        asked.append(tid)
        return 5, 9

    monkeypatch.setattr(thread_moves, "moves_of", moves_of)
    return asked


def now(ran_ns: int) -> Counters:
    return Counters(1, "S", run_ns=1000 + ran_ns, delay_ns=0, timeslices=10 + bool(ran_ns))


def moves(counters: Counters, old: Counters | None, *, asked: bool = True) -> tuple[int | None, int | None]:
    row = moves_where_due(7, (THREAD, counters), (THREAD, old) if old is not None else None, asked, LEAST_NS)
    return row[1].migrations, row[1].involuntary


def test_the_first_reading_is_what_later_ones_are_held_against(read: list[int]) -> None:
    assert moves(now(1), None) == (5, 9)
    assert moves(now(1), KNOWN._replace(migrations=None, involuntary=None)) == (5, 9)
    assert read == [7, 7]


def test_a_thread_that_did_nothing_is_not_asked(read: list[int]) -> None:
    assert moves_where_due(7, (THREAD, now(0)), (THREAD, KNOWN), True, LEAST_NS)[1] is KNOWN
    assert moves(now(0), KNOWN._replace(migrations=None, involuntary=None)) == (None, None)
    assert moves(now(0)._replace(state="R"), KNOWN) == (3, 7)
    assert read == []


def test_the_moves_of_a_thread_that_hardly_ran_are_told_later(read: list[int]) -> None:
    assert moves(now(499), KNOWN) == (3, None), "the older count of moves; its switches are not told"
    assert read == []
    assert moves(now(500), KNOWN) == (5, 9)


def test_where_nobody_asks_the_older_count_stays(read: list[int]) -> None:
    assert moves(now(10_000), KNOWN, asked=False) == (3, None)
    assert moves(now(10_000), None, asked=False) == (None, None)
    assert read == []
