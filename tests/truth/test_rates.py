"""Rates of counters that grow, stand, wrap and begin anew."""

from __future__ import annotations

import pytest

from qsup.truth.rates import each_ms, per_second


@pytest.mark.parametrize(
    ("before", "after", "span_s", "rate"),
    [
        (10, 30, 2.0, 10.0),
        (10, 10, 1.0, 0.0),
        (30, 10, 1.0, None),
        (2**64 - 1, 5, 1.0, None),
        (10, 30, 0.0, None),
        (10, 30, -1.0, None),
        (None, 30, 1.0, None),
        (10, None, 1.0, None),
    ],
)
def test_per_second(before: int | None, after: int | None, span_s: float, rate: float | None) -> None:
    assert per_second(before, after, span_s) == rate


@pytest.mark.parametrize(
    ("before", "after", "each"),
    [
        ((0, 0), (4, 8_000_000), 2.0),
        ((4, 8_000_000), (4, 8_000_000), None),
        ((4, 8_000_000), (1, 9_000_000), None),
        ((4, 8_000_000), (5, 1), None),
    ],
)
def test_each_ms(before: tuple[int, int], after: tuple[int, int], each: float | None) -> None:
    assert each_ms(before, after) == each
