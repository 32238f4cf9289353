"""What views tell of a VM's pages: one size of hugepages, base pages, or several sizes."""

from __future__ import annotations

import pytest
from attrs import evolve

from qsup.bytesize import GIB, MIB
from qsup.spec.memory import BasePages, GuestNodeSpec, MemorySpec
from qsup.supervisor.page_sizes import pages_asked, pages_planned
from tests.plan.asking import ask, dedicated
from tests.plan.hosts import two_sockets


@pytest.mark.parametrize(
    ("pages", "one", "every"),
    [
        ((None, None), None, (4096,)),
        ((2 * MIB, 2 * MIB), 2 * MIB, (2 * MIB,)),
        ((2 * MIB, GIB), None, (GIB, 2 * MIB)),
        ((GIB, "off"), None, (GIB, 4096)),
    ],
)
def test_a_file_and_its_plan_tell_the_same(
    pages: tuple[int | BasePages | None, ...], one: int | None, every: tuple[int, ...]
) -> None:
    nodes = tuple(GuestNodeSpec(frozenset({at}), GIB, hugepages_bytes=page) for at, page in enumerate(pages))
    spec = dedicated("db", 2, memory=MemorySpec(size_bytes=2 * GIB, nodes=nodes))
    told = {"page_size_bytes": one, "page_sizes_bytes": every}
    assert pages_asked(spec.memory) == told
    assert pages_planned(ask(spec, two_sockets())) == told


def test_without_guest_nodes_in_the_file() -> None:
    huge = MemorySpec(size_bytes=GIB, hugepages_bytes=2 * MIB)
    assert pages_asked(huge) == {"page_size_bytes": 2 * MIB, "page_sizes_bytes": (2 * MIB,)}
    assert pages_asked(evolve(huge, hugepages_bytes=None)) == {"page_size_bytes": None, "page_sizes_bytes": (4096,)}
