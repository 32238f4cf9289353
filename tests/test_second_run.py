"""The lab's tests run again where the emulator has killed the lab, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
from pathlib import Path
import pytest
from tests.lab import second_run

def pytest_runtest_protocol(item, nextitem):
    second_run.run(item, nextitem)
    return True

def pytest_report_teststatus(report):
    return second_run.status_of(report)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        second_run.note_fault(item, Path(item.name))
    return report
"""

TESTS = """
from pathlib import Path

def evidence(name, console):
    Path(name).mkdir(exist_ok=True)
    Path(name, "console.log").write_text(console)

def test_killed():
    again = Path("test_killed").exists()
    evidence("test_killed", "[   98.449162] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI")
    assert again

def test_killed_each_time():
    evidence("test_killed_each_time", "[   98.449162] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI")
    assert False

def test_failed():
    evidence("test_failed", "labhost login: ")
    assert False

def test_without_evidence():
    assert False

def test_passed():
    pass
"""


@pytest.mark.parametrize("words", [(), ("-n", "2")])
def test_one_more_run_for_what_the_emulator_killed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    done = pytester.runpytest("-p", "no:cacheprovider", *words)
    counts = done.parseoutcomes()
    assert counts == {"passed": 2, "failed": 3, "rerun": 2}
    assert done.ret == pytest.ExitCode.TESTS_FAILED
