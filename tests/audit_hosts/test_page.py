"""The table of docs/audit.md is made of the rules."""

from __future__ import annotations

import re
from pathlib import Path

from qsup.truth.audit.rule import Rule
from qsup.truth.audit.table import RULES

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
HEAD = "| rule | severity | it looks for | cost |\n|---|---|---|---|\n"
TABLE = re.compile(r"(<!-- Made from [^\n]*-->\n\n)(.*?)(\n?<!-- end of the table -->)", re.DOTALL)


def row(rule: Rule) -> str:
    cost = f"{rule.cost.figure} ({rule.cost.source})" if rule.cost.figure is not None else "unknown"
    return f"| `{rule.rule_id}` | {rule.severity} | {rule.title} | {cost} |\n"


def test_the_table_is_current(regenerate: bool) -> None:
    wanted = HEAD + "".join(map(row, RULES))
    page = PAGE.read_text()
    if regenerate:
        page = TABLE.sub(lambda match: f"{match[1]}{wanted}\n<!-- end of the table -->", page)
        PAGE.write_text(page)
    match = TABLE.search(page)
    assert match is not None
    assert match[2] == wanted
