"""`.ci/run` passes only where the lab has run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parent.parent / ".ci"
MAKE = """#!/bin/sh
[ "$1" != lab ] || [ "$QSUP_LAB_REQUIRED" = 1 ] || [ -z "$CI" ] || exit 3
[ "$1" = lab-smoke ] || exit 0
echo "$CLOSING"
exit "$STATUS"
"""


def run_ci(root: Path, closing: str, status: int = 0, *, ci: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a copy of `.ci/run` whose `make` only prints the closing line of the lab's tests."""
    (root / ".ci").mkdir()
    (root / "bin").mkdir()
    for name in ("run", "step"):
        shutil.copy(CI / name, root / ".ci" / name)
    for path, text in ((root / ".ci/setup", "#!/bin/sh\n"), (root / "bin/make", MAKE)):
        path.write_text(text)
        path.chmod(0o755)
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "QSUP_LAB_REQUIRED")}
    known |= {"PATH": f"{root / 'bin'}:{os.environ['PATH']}", "CLOSING": closing, "STATUS": str(status)}
    known |= {"CI": "true"} if ci else {}
    return subprocess.run([root / ".ci/run"], env=known, capture_output=True, text=True, timeout=60, check=False)


def test_a_lab_that_ran_passes_and_its_closing_line_is_the_last(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "15 passed, 47 deselected in 731.44s (0:12:11)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "15 passed, 47 deselected in 731.44s (0:12:11)"
    assert "where the time went" in done.stdout


@pytest.mark.parametrize("closing", ["15 skipped, 47 deselected in 0.44s", "47 deselected in 0.10s", ""])
def test_a_lab_of_which_nothing_has_run_fails_in_ci(tmp_path: Path, closing: str) -> None:
    done = run_ci(tmp_path, closing)
    assert done.returncode != 0, done.stdout


def test_skipped_tests_of_the_lab_do_not_fail_elsewhere(tmp_path: Path) -> None:
    assert run_ci(tmp_path, "15 skipped, 47 deselected in 0.44s", ci=False).returncode == 0


@pytest.mark.parametrize("required", [False, True])
def test_where_the_lab_cannot_run_building_it_fails_only_if_it_must_run(tmp_path: Path, required: bool) -> None:
    known = {name: value for name, value in os.environ.items() if name != "QSUP_LAB_REQUIRED"}
    known |= {"PATH": str(tmp_path), "QSUP_LAB_CACHE": str(tmp_path / "cache")}
    known |= {"QSUP_LAB_REQUIRED": "1"} if required else {}
    command = [sys.executable, "-m", "tests.lab", "build"]
    done = subprocess.run(command, cwd=CI.parent, env=known, capture_output=True, text=True, timeout=60, check=False)
    assert "the lab needs qemu-system-x86_64" in done.stderr
    assert (done.returncode != 0) == required


def test_a_failed_test_of_the_lab_fails(tmp_path: Path) -> None:
    assert run_ci(tmp_path, "1 failed, 14 passed in 700.00s (0:11:40)", status=1).returncode != 0
