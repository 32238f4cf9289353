"""An audit for a person: the worst first, each finding with its evidence, what it costs and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.render.columns import aligned, cut
from qsup.cli.render.wrapping import wrapped
from qsup.cli.terminal import Style, printable

SEVERITIES = ("high", "medium", "low")
_COLOURS = {"high": "red", "medium": "yellow", "low": "dim"}
_WIDTH = 80
_NARROWEST = 20
_SHOWN_PLACES = 3
_SHOWN_EVIDENCE = 3
_LABEL = 10
_INDENT = "  "


def audit_text(report: Json, style: Style, columns: int | None, *, brief: bool = False) -> str:
    """All findings, what could not be told, and the sum; `brief` takes a line for each finding, cut to `columns`."""
    width = columns or _WIDTH
    lines: list[str] = []
    for note in report["notes"]:
        lines += wrapped(f"note: {printable(note)}", width, "", _INDENT)
    for finding in report["findings"]:
        lines += [_brief(finding, style, columns)] if brief else ["", *_finding_lines(finding, style, width)]
    lines += _unknown_lines(report["unknown"], style, width)
    return "\n".join([*lines, "", _total(report)]).lstrip("\n")


def _head(finding: Json, style: Style) -> str:
    severity = style.colour(_COLOURS[finding["severity"]], finding["severity"].ljust(6))
    return f"{severity}  {style.colour('bold', finding['rule_id'])}: {finding['title']}"


def _brief(finding: Json, style: Style, columns: int | None) -> str:
    places = finding["places"]
    more = f"({len(places)} places) " if len(places) > 1 else ""
    text = more + printable(places[0]["what"])
    if columns is not None:
        text = cut(text, max(columns - len(f"medium  {finding['rule_id']}: "), _NARROWEST))
    severity = style.colour(_COLOURS[finding["severity"]], finding["severity"].ljust(6))
    return f"{severity}  {style.colour('bold', finding['rule_id'])}: {text}"


def _finding_lines(finding: Json, style: Style, width: int) -> Iterator[str]:
    yield _head(finding, style)
    places = finding["places"]
    for place in places[:_SHOWN_PLACES]:
        yield from _labelled("found", place["what"], width)
        yield from _evidence_lines(place["evidence"])
    if len(places) > _SHOWN_PLACES:
        yield from _labelled("", f"and {counted(len(places) - _SHOWN_PLACES, 'more place')}: --json has all", width)
    yield from _labelled("why", finding["why"], width)
    yield from _labelled("cost", _cost(finding["cost"]), width)
    for number, mend in enumerate(dict.fromkeys(place["mend"] for place in places[:_SHOWN_PLACES])):
        yield _command("mend" if number == 0 else "", mend)
    if finding["lasting"] is not None:
        yield from _labelled("to last", finding["lasting"], width)


def _evidence_lines(evidence: Sequence[Json]) -> Iterator[str]:
    for one in evidence[:_SHOWN_EVIDENCE]:
        yield f"{_INDENT}{'':{_LABEL}}{printable(one['file'])} = {printable(one['value'])}"
    if len(evidence) > _SHOWN_EVIDENCE:
        yield f"{_INDENT}{'':{_LABEL}}and {len(evidence) - _SHOWN_EVIDENCE} more"


def _labelled(label: str, text: str, width: int) -> list[str]:
    return wrapped(printable(text), width, f"{_INDENT}{label:{_LABEL}}", f"{_INDENT}{'':{_LABEL}}")


def _command(label: str, command: str) -> str:
    """Commands are never broken: they are there to be copied."""
    return f"{_INDENT}{label:{_LABEL}}{printable(command)}"


def _cost(cost: Json) -> str:
    return f"{cost['figure']} [{cost['source']}]" if cost["figure"] is not None else "unknown"


def _unknown_lines(unknown: Sequence[Json], style: Style, width: int) -> list[str]:
    """Rules that could not be told, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for one in unknown:
        reasons.setdefault(one["why"], []).append(one["rule_id"])
    lines = ["", style.colour("bold", "could not be told")] if reasons else []
    for why, rules in reasons.items():
        lines += wrapped(printable(f"{', '.join(rules)}: {why}"), width, _INDENT, _INDENT * 2)
    return lines


def _total(report: Json) -> str:
    severities = [finding["severity"] for finding in report["findings"]]
    found = ", ".join(f"{severities.count(severity)} {severity}" for severity in SEVERITIES if severity in severities)
    asked = sum(len(report[key]) for key in ("findings", "unknown", "irrelevant", "passed"))
    parts = [f"{len(report['passed'])} in order", f"{len(report['irrelevant'])} do not apply"]
    parts += [f"{len(report['unknown'])} could not be told"] if report["unknown"] else []
    parts += [f"{len(report['skipped'])} skipped"] if report["skipped"] else []
    return f"{counted(len(severities), 'finding')}{f' ({found})' if found else ''}; of {asked} rules {', '.join(parts)}"


def explain_text(rule: Json, style: Style, width: int) -> str:
    """One rule."""
    lines = [_head(rule, style), *_labelled("why", rule["why"], width), *_labelled("cost", _cost(rule["cost"]), width)]
    lines.append(_command("mend", rule["mend"]))
    if rule["lasting"] is not None:
        lines += _labelled("to last", rule["lasting"], width)
    lines += [_command("reads" if number == 0 else "", file) for number, file in enumerate(rule["reads"])]
    return "\n".join(lines)


def rules_text(rules: Sequence[Json], style: Style, width: int | None) -> str:
    """All rules, a line each."""
    rows = [(rule["rule_id"], rule["severity"], rule["title"]) for rule in rules]

    def paint(row: int, column: int, cell: str) -> str:
        return style.colour(_COLOURS[rows[row][1]], cell) if column == 1 else cell

    return "\n".join(aligned(rows, width=width, paint=paint))
