"""Family and Sample: metrics as published, before anybody writes them down in a format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from attrs import define, field, frozen

Kind = Literal["gauge", "counter", "histogram"]
Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One number with its labels; a NamedTuple, since a scrape makes thousands."""

    labels: Labels
    value: float


class Histogram(NamedTuple):
    """How many were at most so much: `counts` are cumulative and have one more than the `bounds`, for all of them."""

    labels: Labels
    bounds: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float


@frozen
class Family:
    """All samples of one name, or its histograms.

    Units stand in names: seconds, bytes, ratio (0 to 1); counters end in _total and only grow.
    """

    name: str
    kind: Kind
    help: str
    samples: list[Sample] = field(factory=list)
    histograms: list[Histogram] = field(factory=list)

    def add(self, value: float | None, **labels: str) -> None:
        """One sample; none where the value is not known."""
        if value is not None:
            self.samples.append(Sample(tuple(labels.items()), value))


@define
class Book:
    """The families of the VMs, by name without "qsup_vm_"; each sample gets the label of the VM that is being written."""

    families: dict[str, Family]
    vm: str = ""

    @classmethod
    def of(cls, table: Iterable[tuple[str, Kind, str]]) -> Book:
        """An empty book of (name, kind, help)."""
        return cls({name: Family(f"qsup_vm_{name}", kind, text) for name, kind, text in table})

    def add(self, name: str, value: float | None, **labels: str) -> None:
        """One sample; none where the value is not known."""
        if value is not None:
            self.families[name].samples.append(Sample((("vm", self.vm), *labels.items()), value))
