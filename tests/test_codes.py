"""docs/codes.md names every stable code of the source, and no other: whoever adds a code says what it means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import qsup
from tests.spec.test_golden_errors import codes_in_source as codes_of_spec

PACKAGE = Path(qsup.__file__).parent
PAGE = PACKAGE.parent / "docs" / "codes.md"
ROOMS = "spec|plan|argv|truth|reconcile|host|process|qmp|supervisor|api|daemon|cli|vm|config"
CODE = re.compile(rf"(?:{ROOMS})\.[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
ROW = re.compile(r"^\| `([a-z.0-9-]+)` \| (.+) \| (.+) \|$", re.MULTILINE)

# Names of files, a label of the metrics, and the two beginnings that plan/pins.py completes.
NO_CODES = {"api.sock", "daemon.lock", "spec.any", "plan.pin", "plan.emulator"}


def texts_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def codes_in_source() -> set[str]:
    whole = {text for path in PACKAGE.rglob("*.py") for text in texts_in(path) if CODE.fullmatch(text)} - NO_CODES
    endings = re.findall(r"\{prefix\}-([a-z-]+)\"", (PACKAGE / "plan" / "pins.py").read_text())
    completed = {f"{prefix}-{ending}" for prefix in ("plan.pin", "plan.emulator") for ending in endings}
    shared = re.findall(r"_Claim\(\"([a-z]+)\"", (PACKAGE / "cli" / "offline" / "collisions.py").read_text())
    return whole | completed | {f"cli.shared-{kind}" for kind in shared} | codes_of_spec()


def table() -> list[tuple[str, str, str]]:
    return ROW.findall(PAGE.read_text().partition("## All codes")[2].partition("\n## ")[0])


def test_every_code_has_its_line_and_every_line_its_code() -> None:
    listed = [code for code, _, _ in table()]
    assert len(listed) == len(set(listed))
    assert set(listed) == codes_in_source()


def test_the_lines_stand_by_room_and_say_something() -> None:
    rooms = [code.partition(".")[0] for code, _, _ in table()]
    assert [room for at, room in enumerate(rooms) if room not in rooms[:at]] == list(dict.fromkeys(rooms))
    assert rooms == sorted(rooms, key=list(dict.fromkeys(rooms)).index)
    assert all(meaning.strip() and remedy.strip() for _, meaning, remedy in table())


@pytest.mark.parametrize("code", ["plan.pin-offline", "spec.bad-mac", "cli.shared-mac", "vm.died", "qmp.refused"])
def test_codes_are_found_however_they_are_written(code: str) -> None:
    assert code in codes_in_source()
