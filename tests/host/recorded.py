"""Recorded machines of tests/hosts, unpacked where thousands of small files cost nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryDirectory

from qsup.host.facts import read_host_facts
from qsup.host.record import parse_tree, write_tree
from qsup.plan.host_facts import HostFacts
from tests.host.synthesize import HOSTS_DIR

# On a disk, removing the 2340 files of one large machine takes seconds.
MEMORY_DIR = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def tree_of_recording(name: str) -> dict[str, str]:
    """The tree of tests/hosts/NAME.json."""
    return parse_tree((HOSTS_DIR / f"{name}.json").read_text(encoding="utf-8"))


@contextmanager
def unpacked(name: str) -> Iterator[str]:
    """Its root directory, while it is needed."""
    with TemporaryDirectory(prefix="qsup-host-", dir=MEMORY_DIR) as root:
        write_tree(tree_of_recording(name), root)
        yield root


@cache
def recorded_facts(name: str) -> HostFacts:
    """What is read of it."""
    with unpacked(name) as root:
        return read_host_facts(root=root)
