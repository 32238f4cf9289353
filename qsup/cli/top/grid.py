"""Grid: lines of cells on the screen. Only what has changed is written to the terminal: it never flickers, also over ssh."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from qsup.cli.top.table import GAP, Line

_STYLES = {
    "": Style(),
    "head": Style(bold=True),
    "sorted": Style(bold=True, reverse=True),
    "red": Style(color="red"),
    "yellow": Style(color="yellow"),
    "dim": Style(dim=True),
}
_CHOSEN = Style(reverse=True)
_BLANK = Line(())


class Grid(Widget):
    """Shows the lines that it was told last."""

    class Resized(Message):
        """There is another size to fill."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Line] = ()

    def on_resize(self) -> None:
        """Ask for lines that fill it."""
        self.post_message(self.Resized())

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines from now on; what is the same as before stays as it is."""
        before, self._lines = self._lines, lines
        changed = [
            region
            for y in range(max(len(before), len(lines)))
            if (region := _changed(_at(before, y), _at(lines, y), y, self.size.width))
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """One line as textual wants it."""
        line = _at(self._lines, y)
        segments = []
        for number, cell in enumerate(line.cells):
            style = _STYLES.get(cell.colour, _STYLES[""])
            segments.append(Segment(cell.text, style + _CHOSEN if line.chosen else style))
            if number < len(line.cells) - 1:
                segments.append(Segment(" " * GAP, _CHOSEN if line.chosen else _STYLES[""]))
        return Strip(segments).simplify().adjust_cell_length(self.size.width, _CHOSEN if line.chosen else None)


def _at(lines: Sequence[Line], y: int) -> Line:
    return lines[y] if y < len(lines) else _BLANK


def _changed(before: Line, now: Line, y: int, width: int) -> Region | None:
    """From the first cell that is another one to the last; the whole line where its cells are others altogether."""
    if before == now:
        return None
    if before.chosen != now.chosen or [len(cell.text) for cell in before.cells] != [len(cell.text) for cell in now.cells]:
        return Region(0, y, width, 1)
    left, spans = 0, []
    for old, new in zip(before.cells, now.cells, strict=True):
        if old != new:
            spans.append((left, left + len(new.text)))
        left += len(new.text) + GAP
    return Region(spans[0][0], y, spans[-1][1] - spans[0][0], 1)
