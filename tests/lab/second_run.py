"""A test whose lab was killed by the emulator below it runs once more, and the closing line counts it as a rerun.

TCG on several threads may run a breakpoint of the kernel's text patching after it was taken back: the lab's kernel dies of it,
whatever is tested. No other failure is given a second run.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

_FATAL = "Oops: int3"
_KILLED = pytest.StashKey[bool]()
_RERUN = "rerun"


def note_fault(item: pytest.Item, folder: Path) -> None:
    """Remember whether the console in this folder of evidence tells of the emulator's fault."""
    with suppress(OSError):
        if _FATAL in (folder / "console.log").read_text(errors="replace"):
            item.stash[_KILLED] = True


def run(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run one test as pytest does; again where its lab was killed."""
    place = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**place)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if item.stash.get(_KILLED, False):
        first = next(report for report in reports if report.failed)
        first.outcome = _RERUN  # type: ignore[assignment]
        item.ihook.pytest_runtest_logreport(report=first)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**place)


def status_of(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Category, letter and word of a run that is repeated; None for all others."""
    return (_RERUN, "R", "RERUN") if str(report.outcome) == _RERUN else None
