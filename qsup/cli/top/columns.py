"""Columns and pages: how a cell reads, what rows are sorted by, and from which screen width on a column is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from qsup.api.client import Json
from qsup.cli.terminal import printable
from qsup.cli.top.cells import percent

Text = Callable[[Json], str]
Key = Callable[[Json], float | str | None]
Colour = Callable[[Json], str]
Rows = Callable[[Json], Iterable[Json]]


class Column:
    """One column. `width` 0: whatever room is left (the last column only). `left`: texts, which begin at the left."""

    def __init__(
        self,
        head: str,
        width: int,
        text: Text,
        key: Key,
        *,
        left: bool = False,
        from_width: int = 0,
        colour: Colour | None = None,
    ) -> None:
        self.head = head
        self.width = width
        self.text = text
        self.key = key
        self.left = left
        self.from_width = from_width
        self.colour = colour


class Page:
    """One page: `rows` takes them out of a frame, `identity` tells one row from the others. `sorted_by` is a head."""

    def __init__(
        self,
        name: str,
        rows: Rows,
        identity: Key,
        columns: Sequence[Column],
        *,
        sorted_by: str,
        empty: str,
        descending: bool = True,
    ) -> None:
        self.name = name
        self.rows = rows
        self.identity = identity
        self.columns = columns
        self.sorted_by = sorted_by
        self.empty = empty
        self.descending = descending


def number_column(head: str, width: int, name: str, shown: Callable[[float | None], str], from_width: int = 0) -> Column:
    """A number of the row, as `shown` writes it."""
    return Column(head, width, lambda row: shown(row.get(name)), lambda row: row.get(name), from_width=from_width)


def share_column(head: str, name: str, from_width: int = 0, colour: Colour | None = None) -> Column:
    """A share of wall time."""

    # Sorted by what is seen: rows that say the same stay where they are.
    def key(row: Json) -> float | None:
        value = row.get(name)
        return None if value is None else round(value, 3)

    return Column(head, 5, lambda row: percent(row.get(name)), key, from_width=from_width, colour=colour)


def name_column(head: str, width: int, name: str, from_width: int = 0, shown: Callable[[str], str] = printable) -> Column:
    """A text of the row."""
    return Column(head, width, lambda row: shown(row[name] or ""), lambda row: row[name], left=True, from_width=from_width)
