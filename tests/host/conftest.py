"""Fixtures of the host room: recorded machines unpacked below a temporary root, and names of links that nobody else uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from qsup.host.links import delete_bridge
from qsup.host.record import parse_tree, write_tree

HOSTS_DIR = Path(__file__).parent.parent / "hosts"


@pytest.fixture(autouse=True)
def _needs_root(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def host_root(tmp_path: Path) -> Callable[[str], str]:
    """Unpacks tests/hosts/NAME.json; gives the root directory."""

    def unpack(name: str) -> str:
        root = tmp_path / name
        write_tree(parse_tree((HOSTS_DIR / f"{name}.json").read_text(encoding="utf-8")), str(root))
        return str(root)

    return unpack


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
