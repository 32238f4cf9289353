"""Fixtures of the host room: recorded machines unpacked below a temporary root, and names of links that nobody else uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from qsup.host.links import delete_bridge
from tests.host.recorded import unpacked


@pytest.fixture(autouse=True)
def _needs_root(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def host_root() -> Iterator[Callable[[str], str]]:
    """Unpacks tests/hosts/NAME.json; gives the root directory."""
    with ExitStack() as kept:
        yield lambda name: kept.enter_context(unpacked(name))


@pytest.fixture
def link_name() -> str:
    """A name for links of this test alone, of 10 characters: five more may be appended."""
    return f"qt{uuid4().hex[:8]}"


@pytest.fixture
def bridge_name(link_name: str) -> Iterator[str]:
    """The name of a bridge that is removed after the test, if the test made it."""
    name = f"{link_name}br"
    yield name
    delete_bridge(name)
