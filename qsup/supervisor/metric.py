"""Family and Sample: metrics as published, before anybody writes them down in a format."""

from __future__ import annotations

from typing import Literal, NamedTuple

from attrs import field, frozen

Kind = Literal["gauge", "counter"]


class Sample(NamedTuple):
    """One number with its labels; a NamedTuple, since a scrape makes thousands."""

    labels: tuple[tuple[str, str], ...]
    value: float


@frozen
class Family:
    """All samples of one name. Units stand in names: seconds, bytes, ratio (0 to 1); counters end in _total and only grow."""

    name: str
    kind: Kind
    help: str
    samples: list[Sample] = field(factory=list)

    def add(self, value: float | None, **labels: str) -> None:
        """One sample; none where the value is not known."""
        if value is not None:
            self.samples.append(Sample(tuple(labels.items()), value))
