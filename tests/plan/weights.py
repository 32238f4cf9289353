"""The points of docs/placement.md ("What a seat costs"), read off its table: what the planner minimises, seen from outside."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "placement.md"
_ROW = re.compile(r"^\| `(?P<name>[a-z0-9]+)` \| (?P<points>\d+) \|", re.MULTILINE)

POINTS = {row["name"]: int(row["points"]) for row in _ROW.finditer(PAGE.read_text())}
