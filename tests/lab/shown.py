"""What a test shows to those who read the run: it stands in the terminal's summary, whichever worker ran the test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

SHOWN = "shown: "
"""How the name of a recorded property begins that is to be shown (`record_property(f"{SHOWN}title", text)`)."""


def shown_in(reports: Iterable[pytest.TestReport]) -> Iterator[tuple[str, str]]:
    """Return (title, text) of all that is to be shown. A test has a report for each of its stages: the last has all."""
    for report in reports:
        for name, text in report.user_properties if report.when == "teardown" else ():
            if name.startswith(SHOWN):
                yield name.removeprefix(SHOWN), str(text)
