"""What all tests share: the flag that rewrites generated files instead of comparing with them, and an even start."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# The machine that runs the tests may be busy: how long an example takes says nothing.
settings.register_profile("qsup", deadline=None)
settings.load_profile("qsup")

# A shell that starts the tests in its background has SIGINT ignored, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate",
        action="store_true",
        help="write golden files and generated pages anew instead of comparing; review the difference afterwards",
    )


@pytest.fixture(scope="session")
def regenerate(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--regenerate"))
