"""Every rejection as the operator reads it: tests/golden/spec-errors/NAME.toml gives NAME.err.

Files named `settings-…` are host settings, the others VMs. `pytest tests/spec --regenerate` writes the .err files.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import qsup.spec
from qsup.errors import InvalidInput
from qsup.spec.document import decode
from qsup.spec.parse import parse_vm
from qsup.spec.render import render_problems
from qsup.spec.settings import parse_settings

GOLDEN = Path(__file__).parents[1] / "golden" / "spec-errors"
CASES = sorted(GOLDEN.glob("*.toml"))

# A file's name or its size is what is wrong: shown in test_names, test_hostile_text and test_many_faults.
WITHOUT_A_FILE = {"spec.bad-file-name", "spec.file-too-large", "spec.too-many-problems"}


def read(case: Path) -> object:
    text = decode(case.read_bytes(), file=case.name)
    if case.name.startswith("settings-"):
        return parse_settings(text, file=case.name)
    return parse_vm(text, file=case.name, name=case.stem)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_rejection_reads_as_recorded(case: Path, regenerate: bool) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(case)
    error_text = render_problems(caught.value.problems)
    expected = case.with_suffix(".err")
    if regenerate:
        expected.write_text(error_text)
    assert error_text == expected.read_text()


def test_every_err_file_has_its_toml() -> None:
    assert {path.stem for path in GOLDEN.glob("*.err")} == {case.stem for case in CASES}


def codes_in_source() -> set[str]:
    """Every code that the room can report, found in its source."""
    room = Path(qsup.spec.__file__).parent
    source = "\n".join(path.read_text() for path in room.glob("*.py"))
    reported = set(re.findall(r"(?:report|_unknown)\(\s*\"([a-z0-9-]+)\"", source))
    checked = set(re.findall(r"\"(bad-[a-z-]+)\"", source)) | set(re.findall(r"\"(duplicate-[a-z]+)\"", source))
    whole = set(re.findall(r"Problem\(\s*\"(spec\.[a-z0-9-]+)\"", source))
    return whole | {f"spec.{code}" for code in reported | checked | {"unknown-key", "unknown-section"}}


def test_every_code_has_a_golden_file() -> None:
    shown = set(re.findall(r"error \[(spec\.[a-z0-9-]+)\]", "\n".join(path.read_text() for path in GOLDEN.glob("*.err"))))
    assert codes_in_source() - shown == WITHOUT_A_FILE
    assert shown <= codes_in_source()
