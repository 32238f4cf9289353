"""Counting pages: who asks for what."""

from __future__ import annotations

import pytest

from qsup.supervisor import page_watch
from qsup.supervisor.page_watch import check_pages
from qsup.supervisor.verifying import verify_vm
from qsup.truth.memory import MappingFacts
from tests.supervisor.standing_in import services_without_systemd, vm_of_a_shell

WELL = MappingFacts(1 << 44, 64 << 20, "bind", frozenset({0}), 4096, False, ((0, 7),), transparent_huge_bytes=2 << 20)


async def test_transparent_huge_pages_are_asked_for_when_somebody_looks_and_never_in_the_hourly_cycle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def read(pid: int, sizes: object, *, transparent: bool = False) -> tuple[MappingFacts, ...]:
        asked.append(transparent)
        return (WELL,)

    monkeypatch.setattr(page_watch, "read_mappings", read)
    with vm_of_a_shell() as vm:
        await check_pages(services_without_systemd(), vm)
        assert asked == [False]
        table = await verify_vm(vm)
        assert asked == [False, True]
        assert [row.transparent_huge_bytes for row in table.memory] == [2 << 20]
