"""The words around a table, and one frame as plain text."""

from __future__ import annotations

import time

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.terminal import Style
from qsup.cli.top.cells import SHOWN, percent
from qsup.cli.top.table import Line, Table

_COLOURS = {"head": "bold", "sorted": "bold"}
_BOUND = 100_000


def summary(frame: Json) -> str:
    """ "13:05:09  100 VMs: 97 running, 2 absent, 1 unresponsive; steal 3.0 %"."""
    phases: dict[str, int] = {}
    for vm in frame["vms"]:
        phases[vm["phase"]] = phases.get(vm["phase"], 0) + 1
    by_count = sorted(phases.items(), key=lambda item: (-item[1], item[0]))
    parts = [counted(len(frame["vms"]), "VM") + (": " if phases else "") + ", ".join(f"{n} {phase}" for phase, n in by_count)]
    drifting = sum(vm["drifting"] for vm in frame["vms"])
    if drifting:
        parts.append(f"{drifting} drifting")
    if (frame["steal_share"] or 0.0) >= SHOWN:
        parts.append(f"steal {percent(frame['steal_share'])} %")
    return f"{time.strftime('%H:%M:%S', time.localtime(frame['at_s']))}  {'; '.join(parts)}"


def frame_text(frame: Json, table: Table, style: Style, width: int) -> str:
    """One frame with all rows of a page."""
    table.take(frame)
    if not table.rows:
        return f"{summary(frame)}\n{table.page.empty if not table.words else f'nothing has {table.words!r}'}"
    lines = [_painted(line, style) for line in table.lines(width, _BOUND)]
    return "\n".join([summary(frame), *lines])


def _painted(line: Line, style: Style) -> str:
    cells = []
    for cell in line.cells:
        colour = _COLOURS.get(cell.colour, cell.colour)
        cells.append(style.colour(colour, cell.text) if colour else cell.text)
    return " ".join(cells).rstrip()
