"""Fixtures of the lab's tests: a host of its own for each test, and the evidence when one fails."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from . import failures, prerequisites, second_run
from .lab import Lab
from .qsup_host import QsupHost
from .recipe import DEFAULT_RELEASE
from .shapes import DEFAULT_SHAPE
from .shown import shown_in
from .template import Template, bare_template, qsup_template

HERE = Path(__file__).parent
TEST_S = 600
"""A limit against hanging, for the test's body alone: the first test of a shape also builds its template."""


_LABS = pytest.StashKey[list[Lab]]()
"""The labs of a test, also where one of its fixtures fails."""


def pytest_configure(config: pytest.Config) -> None:
    """Show why tests were skipped, without being asked."""
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the lab's tests their limit."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_S, func_only=True))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run the lab's tests here, since one may be given a second run."""
    if HERE not in item.path.parents:
        return None
    second_run.run(item, nextitem)
    return True


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count the runs that are repeated by themselves."""
    return second_run.status_of(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests want to be read, whoever ran them."""
    reports = (report for group in terminalreporter.stats.values() for report in group if isinstance(report, pytest.TestReport))
    for title, text in shown_in(reports):
        terminalreporter.section(title)
        terminalreporter.write_line(text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect evidence from the labs of a failed test while they are still up."""
    report = yield
    if report.failed and report.when != "teardown":
        labs: list[Lab] = item.stash.get(_LABS, [])
        for number, lab in enumerate(labs):
            folder = failures.folder_of(f"{item.nodeid}-{number}" if number else item.nodeid)
            failures.collect(lab, folder)
            second_run.note_fault(item, folder)
            report.sections.append(("lab", f"consoles, journal and command lines: {folder}"))
    return report


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host without qsup; `@pytest.mark.lab(shape=..., release=...)` says which."""
    release, shape = _wanted(request)
    yield from _clone(request, bare_template(release, shape))


@pytest.fixture
def qsup_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host with this checkout's qsup installed from its wheel, its daemon started; the marker is the same."""
    release, shape = _wanted(request)
    yield from _clone(request, qsup_template(release, shape))


@pytest.fixture
def host(qsup_lab: Lab) -> QsupHost:
    """The same host with words for what an operator does and a doubter reads."""
    return QsupHost(qsup_lab)


def _clone(request: pytest.FixtureRequest, template: Template) -> Iterator[Lab]:
    clone = template.clone()
    labs: list[Lab] = request.node.stash.setdefault(_LABS, [])
    labs.append(clone)
    try:
        yield clone
    finally:
        labs.remove(clone)
        clone.close()


def _wanted(request: pytest.FixtureRequest) -> tuple[str, str]:
    marker = request.node.get_closest_marker("lab")
    words = marker.kwargs if marker else {}
    release: str = words.get("release", DEFAULT_RELEASE)
    shape: str = words.get("shape", DEFAULT_SHAPE)
    reason = prerequisites.reason_against(release)
    if reason and os.environ.get("QSUP_LAB_REQUIRED"):
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(f"lab: {reason}")
    return release, shape
