"""What had to be assumed is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qsup.host.assumptions import assumptions_of
from qsup.host.record import write_tree
from tests.host.machines import HOSTS
from tests.host.synthesize import CPU, NODE

WHOLE = sorted(set(HOSTS) - {"malformed", "memory-only-node"})


@pytest.mark.parametrize("name", WHOLE)
def test_a_kernel_that_tells_everything(name: str, host_root: Callable[[str], str]) -> None:
    assert assumptions_of(host_root(name)) == ()


def test_this_machine_can_be_asked() -> None:
    assert all(isinstance(sentence, str) for sentence in assumptions_of())


def test_a_malformed_machine(host_root: Callable[[str], str]) -> None:
    assert assumptions_of(host_root("malformed")) == (
        "no siblings are told of pCPUs 0,1: by core_id, else a core of its own each",
        "the memory of node 0 is not told: 0 bytes",
    )


def test_an_empty_machine(tmp_path: Path) -> None:
    assert len(assumptions_of(str(tmp_path))) == 5


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        (f"{CPU}/online", "0-\n", "no list of online pCPUs is told: all present ones are online"),
        (f"{NODE}/node1/distance", "21\n", "the distances of node 1 are not told: 10 to itself, 20 to others"),
        (f"{NODE}/node1/meminfo", "", "the memory of node 1 is not told: 0 bytes"),
        (f"{NODE}/online", "0-8191\n", "the NUMA nodes 2-8191 are told and have no directory: they are not there"),
    ],
)
def test_one_file_at_a_time(path: str, text: str, sentence: str, host_root: Callable[[str], str]) -> None:
    root = host_root("two-sockets-smt")
    write_tree({path: text}, root)
    assert assumptions_of(root) == (sentence,)
