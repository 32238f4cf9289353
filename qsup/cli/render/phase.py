"""The colour of a phase."""

from __future__ import annotations

from qsup.cli.terminal import Style

_COLOURS = {
    "running": "green",
    "paused": "yellow",
    "stopping": "yellow",
    "io-error": "red",
    "panicked": "red",
    "unresponsive": "red",
    "stray": "red",
}


def painted_phase(style: Style, phase: str, text: str | None = None) -> str:
    """The phase (or a padded text of it) in its colour; phases on the way somewhere have none."""
    colour = _COLOURS.get(phase)
    shown = phase if text is None else text
    return style.colour(colour, shown) if colour else shown
