"""Rates: what a counter did between two looks."""

from __future__ import annotations


def per_second(before: int | None, after: int | None, span_s: float) -> float | None:
    """How much a second; None where it is not known: no time passed, or the counter went back (it wrapped, or began anew)."""
    if before is None or after is None or span_s <= 0 or after < before:
        return None
    return (after - before) / span_s


def each_ms(before: tuple[int, int], after: tuple[int, int]) -> float | None:
    """How long one operation took on average, of (operations, ns); None where none was completed, or a counter went back."""
    operations, spent_ns = after[0] - before[0], after[1] - before[1]
    return spent_ns / operations / 1e6 if operations > 0 and spent_ns >= 0 else None
