"""The last hour: a minute a row, bounded whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.truth.wait import BlameShare, ThreadWait, VmWait
from qsup.truth.wait_blame import MOST_NAMES, OTHERS
from qsup.truth.wait_history import MINUTES, UNKNOWN, WaitHistory

NOON_S = 1_769_860_800


def waited(ready: float, blame: dict[str, float], unknown: float = 0.0) -> VmWait:
    shares = tuple(BlameShare(who, share) for who, share in blame.items())
    thread = ThreadWait("vcpu 0", "vcpu", 1, 0, 0.1, ready, unknown_share=unknown, blame=shares)
    return VmWait("web1", ready, 0.0, ready / 2, (thread,))


def test_a_minute_is_the_mean_of_its_spans_by_their_length() -> None:
    history = WaitHistory()
    history.add(NOON_S + 10, 5.0, waited(0.4, {"a[1]": 0.3}, 0.1))
    history.add(NOON_S + 11, 1.0, waited(1.0, {"b[2]": 0.9, "a[1]": 0.1}))
    (minute,) = history.minutes()
    assert (minute.begins_at_s, minute.seen_s) == (NOON_S, 6.0)
    assert minute.ready_share == pytest.approx(0.5)
    assert (minute.worst_share, minute.skew_share) == (1.0, 0.5)
    assert {item.who: round(item.share, 4) for item in minute.blame} == {"a[1]": 0.2667, "b[2]": 0.15, UNKNOWN: 0.0833}
    assert minute.blame[0].who == "a[1]"


def test_an_hour_is_kept_and_no_more() -> None:
    history = WaitHistory()
    for minute in range(200):
        history.add(NOON_S + 60 * minute, 5.0, waited(0.1, {}))
    kept = history.minutes()
    assert len(kept) == MINUTES
    assert kept[-1].begins_at_s == NOON_S + 60 * 199


@given(st.lists(st.tuples(st.floats(0, 4e9), st.floats(0.1, 30), st.text(max_size=3)), max_size=80))
def test_it_is_bounded_also_when_the_clock_jumps_and_names_abound(spans: list[tuple[float, float, str]]) -> None:
    history = WaitHistory()
    for index, (now_s, span_s, name) in enumerate(spans):
        history.add(now_s if index % 2 else NOON_S, span_s, waited(0.5, {f"{name}{index}": 0.5}))
    for minute in history.minutes():
        assert len(minute.blame) <= MOST_NAMES + 2
        assert minute.ready_share == pytest.approx(0.5)
        assert sum(item.share for item in minute.blame) == pytest.approx(0.5)
    assert len(history.minutes()) <= MINUTES


def test_names_beyond_the_limit_are_others() -> None:
    history = WaitHistory()
    history.add(NOON_S, 1.0, waited(1.0, {f"p[{n}]": 0.05 for n in range(20)}))
    (minute,) = history.minutes()
    assert {item.who: item.share for item in minute.blame}[OTHERS] == pytest.approx(0.05 * (20 - MOST_NAMES))


def test_who_comes_late_and_takes_much_ousts_the_least() -> None:
    history = WaitHistory()
    history.add(NOON_S, 1.0, waited(0.1, {f"p[{n}]": 0.01 + n / 1000 for n in range(MOST_NAMES)}))
    history.add(NOON_S + 1, 1.0, waited(0.6, {"late[99]": 0.6}))
    (minute,) = history.minutes()
    shares = {item.who: item.share for item in minute.blame}
    assert minute.blame[0].who == "late[99]"
    assert "p[0]" not in shares
    assert shares[OTHERS] == pytest.approx(0.005)
