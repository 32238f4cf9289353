"""A QEMU command line: for a shell, or with the reason behind every option."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.terminal import printable

_WIDEST_COLUMN = 60


def command_line_text(words: Sequence[str]) -> str:
    """Shell-quoted, one option a line: what is printed can be pasted."""
    lines: list[str] = []
    for word in words:
        if not lines or (word.startswith("-") and len(word) > 1):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n    ".join(lines)


def explained_text(binary: str, options: Sequence[Json]) -> str:
    """Each option and why it is there, laid out as argv/explain does it."""
    rows = [(_argument(option), printable(option["why"])) for option in options]
    width = max((len(argument) for argument, _ in rows if len(argument) <= _WIDEST_COLUMN), default=0)
    lines = [binary]
    for argument, why in rows:
        if len(argument) > width:
            lines.append(f"  {argument}")
            argument = ""
        lines.append(f"  {argument:<{width}}  — {why}")
    return "\n".join(lines)


def _argument(option: Json) -> str:
    return str(option["flag"] if option["value"] is None else f"{option['flag']} {option['value']}")
