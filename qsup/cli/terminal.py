"""The terminal: how wide it is, whether it takes colours, and text that is safe on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_DEFAULT_WIDTH = 80


class Style:
    """Colours text, or leaves it as it is."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def colour(self, name: str, text: str) -> str:
        """The text in a colour of the table above."""
        return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m" if self._enabled and text else text


PLAIN = Style(enabled=False)


def style_of(is_terminal: bool, environment: Mapping[str, str]) -> Style:
    """Colours only on a terminal, and not where NO_COLOR or TERM=dumb asks for none (https://no-color.org)."""
    wanted = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return Style(enabled=wanted and is_terminal)


def stdout_style() -> Style:
    """The style of the standard output."""
    return style_of(sys.stdout.isatty(), os.environ)


def stdout_width() -> int | None:
    """The columns of the terminal; None where the output is no terminal and lines may be as long as they are."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _DEFAULT_WIDTH
    except OSError:
        return _DEFAULT_WIDTH


def printable(text: str) -> str:
    """The text without control characters: a guest or QEMU must not steer the operator's terminal."""
    return text.translate(_CONTROLS)
