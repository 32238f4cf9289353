"""The exit codes and the codes of the API are an interface: docs/codes.md, the tables in the code and the texts agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qsup.api import wire
from qsup.cli import exit_codes
from qsup.cli.verb_table import VERBS
from qsup.errors import BadRequest, InvalidInput, KernelRefused, Problem, QsupError

DOCS = Path(__file__).parents[2] / "docs"
API = Path(wire.__file__).parent
ROW = re.compile(r"^\| `(api\.[a-z-]+)` \| ([0-9]{3}|–[^|]*) \| ([0-9]+) \|$", re.MULTILINE)


def documented() -> dict[str, tuple[str, int]]:
    return {code: (status, int(exit_code)) for code, status, exit_code in ROW.findall((DOCS / "codes.md").read_text())}


def test_every_exit_code_is_documented() -> None:
    rows = {int(code) for code in re.findall(r"^\| ([0-9]+) \|", (DOCS / "codes.md").read_text(), re.MULTILINE)}
    known = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert rows == known


def test_every_code_of_the_api_is_documented() -> None:
    used = {code for path in API.rglob("*.py") for code in re.findall(r'"(api\.[a-z-]+)"', path.read_text())} - {"api.sock"}
    assert set(documented()) == used


@pytest.mark.parametrize("code", sorted(documented()))
def test_statuses_and_exit_codes_are_as_documented(code: str) -> None:
    status_text, exit_code = documented()[code]
    error: QsupError = BadRequest(code, "…")
    if status_text.startswith("–"):
        error = KernelRefused(code, "/x", 1, "…")
    elif status_text == "422":
        error = InvalidInput((Problem(code, "…"),))
    status, body = (500, wire.internal_error_json()) if code == "api.internal" else wire.error_json(error)
    assert exit_codes.of_error(body) == exit_code
    assert status_text.startswith("–") or status == int(status_text)


def test_every_verb_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    assert [verb for verb in VERBS if f"`{verb}" not in text] == []
