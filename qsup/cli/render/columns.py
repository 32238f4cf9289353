"""Aligned columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_GAP = "  "

Paint = Callable[[int, int, str], str]


def aligned(rows: Sequence[Sequence[str]], *, width: int | None = None, paint: Paint | None = None) -> list[str]:
    """Rows of equal length as lines; each column is as wide as its widest cell, an empty cell is "-".

    Args:
        width: cut the last column so that lines fit; None leaves it whole.
        paint: (row, column, padded cell) → the cell with its colour.
    """
    cells = [[cell or "-" for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    return [_line(number, row, widths, width, paint) for number, row in enumerate(cells)]


def _line(number: int, row: list[str], widths: list[int], width: int | None, paint: Paint | None) -> str:
    last = len(row) - 1
    parts = [cell.ljust(widths[column]) if column < last else cell for column, cell in enumerate(row)]
    if width is not None:
        room = max(width - sum(len(part) + len(_GAP) for part in parts[:-1]), 8)
        parts[-1] = cut(parts[-1], room)
    if paint is not None:
        parts = [paint(number, column, part) for column, part in enumerate(parts)]
    return _GAP.join(parts).rstrip()


def cut(text: str, room: int) -> str:
    """The text in at most `room` columns."""
    return text if len(text) <= room else text[: room - 1] + "…"
