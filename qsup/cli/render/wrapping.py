"""Texts broken into lines. A long list of numbers ("1,17,2,18,…") may be broken behind a comma; short ones stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LONGEST_WHOLE = 24
_PIECE = re.compile(r"[^,]+,?|,")


def wrapped(text: str, width: int, indent: str = "", further: str = "") -> list[str]:
    """The text in lines of at most `width` columns (a longer word gets its own); `further` starts all but the first."""
    lines: list[str] = []
    line, empty = indent, True
    for piece, glued in _pieces(text):
        gap = "" if glued or empty else " "
        if not empty and len(line) + len(gap) + len(piece) > width:
            lines.append(line)
            line, gap = further, ""
        line, empty = line + gap + piece, False
    return [*lines, line] if text else []


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Words and parts of long lists; True where no gap stands before."""
    for word in text.split():
        parts = _PIECE.findall(word) if len(word) > _LONGEST_WHOLE else [word]
        for number, part in enumerate(parts):
            yield part, number > 0
