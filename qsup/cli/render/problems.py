"""Problems and reasons, as the API gives them."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.terminal import printable

_SHOWN_HOLDERS = 5


def problem_lines(problems: Sequence[Json], indent: str = "  ") -> list[str]:
    """Each problem with its place and code; its hint on a line of its own."""
    lines: list[str] = []
    for problem in problems:
        place = ":".join(str(problem[part]) for part in ("file", "line", "column") if problem.get(part) is not None)
        lines.append(f"{indent}{place + ': ' if place else ''}{printable(problem['message'])} [{problem['code']}]")
        lines.extend(hint_lines(problem, indent + "  "))
    return lines


def reason_lines(reasons: Sequence[Json], indent: str = "  ") -> list[str]:
    """Each reason with what was needed, what there is, and who holds the rest."""
    lines: list[str] = []
    for reason in reasons:
        lines.append(f"{indent}{printable(reason['message'])} [{reason['code']}]")
        lines.extend(f"{indent}  {detail}" for detail in _details_of(reason))
        lines.extend(hint_lines(reason, indent + "  "))
    return lines


def suggestion_lines(suggestions: Sequence[str], indent: str = "  ") -> list[str]:
    """What would make the VM fit, one alternative a line; nothing where none is known."""
    if not suggestions:
        return []
    return [f"{indent}it would fit with any one of these:", *(f"{indent}  - {printable(text)}" for text in suggestions)]


def _details_of(reason: Json) -> list[str]:
    amounts = [f"{word} {reason[word]}" for word in ("needed", "available") if reason.get(word)]
    details = [", ".join(amounts)] if amounts else []
    holders = [printable(f"{name} ({what})") for name, what in reason.get("held_by") or ()]
    return [*details, f"held by {_shortened(holders)}"] if holders else details


def _shortened(holders: list[str]) -> str:
    """All of them, or the first ones and how many more there are; `--json` names every one."""
    rest = len(holders) - _SHOWN_HOLDERS
    return ", ".join(holders) if rest <= 1 else f"{', '.join(holders[:_SHOWN_HOLDERS])} and {rest} more"


def hint_lines(item: Json, indent: str) -> list[str]:
    """The hint, where there is one."""
    hint = item.get("hint")
    return [f"{indent}hint: {printable(hint)}"] if hint else []
