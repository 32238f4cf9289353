"""One daemon for each file of tests; a test that needs settings or a crash of its own starts its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.evidence import leftovers
from tests.live.harness import Daemon, running_daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon; when the file's tests are through, nothing of any VM may be left."""
    root = tmp_path_factory.mktemp("d")
    root.chmod(0o755)
    with running_daemon(root) as running:
        yield running
    assert leftovers(running) == []


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user can reach, other than pytest's own."""
    with tempfile.TemporaryDirectory(prefix="qsup-") as path:
        Path(path).chmod(0o755)
        yield Path(path)
