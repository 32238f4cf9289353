"""Table: one page of frames, sorted, filtered, with the chosen row in sight; what it shows follows from what it was told."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.render.columns import cut
from qsup.cli.top.columns import Column, Page
from qsup.natural import natural

GAP = 1
_LEAST_ROOM = 8


class Cell:
    """A text as wide as its column, in a colour (or none)."""

    def __init__(self, text: str, colour: str = "") -> None:
        self.text = text
        self.colour = colour

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and (self.text, self.colour) == (other.text, other.colour)

    __hash__ = None  # type: ignore[assignment]


class Line:
    """One line of the screen."""

    def __init__(self, cells: Sequence[Cell], chosen: bool = False) -> None:
        self.cells = list(cells)
        self.chosen = chosen

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Line) and (self.cells, self.chosen) == (other.cells, other.chosen)

    __hash__ = None  # type: ignore[assignment]

    @property
    def text(self) -> str:
        """Without its colours."""
        return (" " * GAP).join(cell.text for cell in self.cells)


class Table:
    """What is on the screen of a page. The chosen row is kept by what it is, not by where it stands."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.words = ""
        self.descending = page.descending
        self._sorted_by = next(column for column in page.columns if column.head == page.sorted_by)
        self._frame: Json | None = None
        self.rows: list[Json] = []
        self._chosen: object = None
        self._offset = 0
        self._width = 0

    def take(self, frame: Json) -> None:
        """The next frame."""
        self._frame = frame
        self._arrange()

    def filter(self, words: str) -> None:
        """Show the rows that have all these words somewhere, in capitals or not."""
        self.words = words
        self._arrange()

    def sort_next(self, step: int = 1) -> None:
        """Sort by the next column in sight (with -1 the one before), the largest first where it has numbers."""
        columns = [column for column in shown_columns(self.page.columns, self._width) if column.head]
        index = (columns.index(self._sorted_by) + step) % len(columns) if self._sorted_by in columns else 0
        self._sorted_by = columns[index]
        self.descending = not self._sorted_by.left
        self._arrange()

    def sort_by(self, head: str) -> bool:
        """Sort by the column with this head; False where there is none."""
        for column in self.page.columns:
            if column.head and column.head.lower() == head.lower():
                self._sorted_by, self.descending = column, not column.left
                self._arrange()
                return True
        return False

    def reverse(self) -> None:
        """The other way round."""
        self.descending = not self.descending
        self._arrange()

    @property
    def sorted_by(self) -> str:
        """The head of the column that rows are sorted by."""
        return self._sorted_by.head

    @property
    def chosen(self) -> Json | None:
        """The chosen row; the first one until somebody chooses."""
        return self.rows[self._chosen_index()] if self.rows else None

    def move(self, step: int) -> None:
        """Choose the row so many further down."""
        if self.rows:
            index = min(max(self._chosen_index() + step, 0), len(self.rows) - 1)
            self._chosen = self.page.identity(self.rows[index])

    def lines(self, width: int, height: int) -> list[Line]:
        """The head and as many rows as fit."""
        self._width = width
        columns = shown_columns(self.page.columns, width)
        room = max(width - sum(column.width + GAP for column in columns if column.width), _LEAST_ROOM)
        widths = [column.width or room for column in columns]
        head = [
            Cell(_fitted(column.head, wide, column.left), "sorted" if column is self._sorted_by else "head")
            for column, wide in zip(columns, widths, strict=True)
        ]
        shown = self.rows[self._scrolled(max(height - 1, 0)) :][: max(height - 1, 0)]
        chosen = self._chosen_index()
        return [
            Line(head),
            *(
                Line(_cells(row, columns, widths), chosen=self._offset + number == chosen)
                for number, row in enumerate(shown)
            ),
        ]  # fmt: skip

    def _scrolled(self, height: int) -> int:
        """The first row in sight: the chosen one always is."""
        chosen = self._chosen_index()
        self._offset = min(self._offset, max(len(self.rows) - height, 0), chosen)
        self._offset = max(self._offset, chosen - height + 1, 0)
        return self._offset

    def _chosen_index(self) -> int:
        if self._chosen is None:
            return 0
        return next((index for index, row in enumerate(self.rows) if self.page.identity(row) == self._chosen), 0)

    def _arrange(self) -> None:
        if self._frame is None:
            return
        words = self.words.lower().split()
        rows = [row for row in self.page.rows(self._frame) if not words or self._has(row, words)]
        rows.sort(key=lambda row: natural(str(self.page.identity(row))))
        known = [row for row in rows if self._sorted_by.key(row) is not None]
        unknown = [row for row in rows if self._sorted_by.key(row) is None]
        known.sort(key=lambda row: _comparable(self._sorted_by.key(row)), reverse=self.descending)
        self.rows = known + unknown

    def _has(self, row: Json, words: Sequence[str]) -> bool:
        text = " ".join(column.text(row) for column in self.page.columns).lower()
        return all(word in text for word in words)


def _comparable(value: float | str | None) -> tuple[float, tuple[tuple[str, int], ...]]:
    """Numbers by their value, texts as people count; None does not come here."""
    return (0.0, natural(value)) if isinstance(value, str) else (value or 0.0, ())


def shown_columns(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that a screen of this width has room for."""
    return [column for column in columns if column.from_width <= width]


def _cells(row: Json, columns: Sequence[Column], widths: Sequence[int]) -> list[Cell]:
    return [
        Cell(_fitted(column.text(row), wide, column.left), column.colour(row) if column.colour else "")
        for column, wide in zip(columns, widths, strict=True)
    ]


def _fitted(text: str, width: int, left: bool) -> str:
    text = cut(text, width)
    return text.ljust(width) if left else text.rjust(width)
