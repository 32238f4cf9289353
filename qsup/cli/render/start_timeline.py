"""The stages of a start as bars."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.render.amounts import moment
from qsup.cli.terminal import Style

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_BAR_MIN, _BAR_MAX = 10, 60


def timeline_text(name: str, starts: Sequence[Json], style: Style, width: int) -> str:
    """Starts one below the other: each stage with its milliseconds and a bar. All bars are of one scale, so starts compare."""
    stages = [stage for start in starts for stage in start["stages"]]
    label_width = max((len(stage["stage"]) for stage in stages), default=0)
    longest_ms = max((stage["duration_ms"] for stage in stages), default=0.0)
    room = min(max(width - label_width - 18, _BAR_MIN), _BAR_MAX)
    blocks = []
    for start in starts:
        head = f"{style.colour('bold', name)}  started {moment(start['started_at_s'])}: "
        lines = [f"{head}{start['outcome']} after {start['total_ms']:.1f} ms"]
        for stage in start["stages"]:
            bar = style.colour("green", _bar(stage["duration_ms"] / longest_ms if longest_ms else 0.0, room))
            lines.append(f"  {stage['stage'].ljust(label_width)} {stage['duration_ms']:9.1f} ms  {bar}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _bar(share: float, room: int) -> str:
    eighths = round(share * room * 8)
    return (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
