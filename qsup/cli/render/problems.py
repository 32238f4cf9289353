"""Problems and reasons, as the API gives them."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.terminal import printable


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


def _details_of(reason: Json) -> list[str]:
    amounts = [f"{word} {reason[word]}" for word in ("needed", "available") if reason.get(word)]
    details = [", ".join(amounts)] if amounts else []
    holders = [f"{name} ({what})" for name, what in reason.get("held_by") or ()]
    return [*details, f"held by {', '.join(holders)}"] if holders else details


def hint_lines(item: Json, indent: str) -> list[str]:
    """The hint, where there is one."""
    hint = item.get("hint")
    return [f"{indent}hint: {printable(hint)}"] if hint else []
