"""Tests that change the host's hugepage pools take turns, also across the processes of a parallel run."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "qsup-test-hugepages.lock"


@contextmanager
def pool_turn() -> Iterator[None]:
    """Nobody else's test changes a pool meanwhile."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
