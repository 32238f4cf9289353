"""Variety: sets of changes of many kinds rather than many of one kind, both where they are tried and where they are shown.

Strategy: the kind of a set is what gives way in it (its axes, any VM that stops being the same as any other). Kinds take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, zip_longest
from typing import TypeVar

from qsup.plan.relaxations import Relaxation

T = TypeVar("T")
Kind = tuple[str, ...]
Pair = tuple[int, int]

_STOP = "stop"
_SOON = 2  # of each kind so many come before any third one


def kind_of(offers: Sequence[Relaxation], numbers: Iterable[int]) -> Kind:
    """What gives way, whoever it is that stops."""
    return tuple(_STOP if offers[number].stops else offers[number].axis for number in numbers)


def pairs_by_kind(offers: Sequence[Relaxation], numbers: Sequence[int]) -> dict[Kind, list[Pair]]:
    """All pairs of offers that do not exclude each other; in each kind first those whose later one comes earliest."""
    kinds: dict[Kind, list[Pair]] = {}
    for pair in sorted(combinations(numbers, 2), key=lambda pair: pair[::-1]):
        if offers[pair[0]].axis != offers[pair[1]].axis:
            kinds.setdefault(kind_of(offers, pair), []).append(pair)
    return dict(sorted(kinds.items(), key=lambda item: item[1][0]))


def in_turn(queues: Iterable[Sequence[T]]) -> Iterator[T]:
    """The first of each queue, then the second of each, and so on."""
    absent = object()
    for turn in zip_longest(*queues, fillvalue=absent):
        yield from (item for item in turn if item is not absent)  # type: ignore[misc]


def varied(items: Iterable[T], kind: Callable[[T], Kind]) -> list[T]:
    """The items in the order in which to show them: few changes first, among equally many what gives way for the first time.

    Kinds take turns, and third ones of a kind come last. Items of one kind keep their order.
    """
    left = list(items)
    counts: dict[Kind, int] = {}
    shown: set[str] = set()
    order: list[T] = []

    def rank(item: T) -> tuple[bool, int, int, int]:
        its = kind(item)
        return (counts.get(its, 0) >= _SOON, len(its), -len(set(its) - shown), counts.get(its, 0))

    while left:
        best = min(left, key=rank)
        left.remove(best)
        order.append(best)
        counts[kind(best)] = counts.get(kind(best), 0) + 1
        shown.update(kind(best))
    return order
