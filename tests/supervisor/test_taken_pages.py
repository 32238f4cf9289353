"""Pages that cannot be counted: the VM counts as it last did, and nobody else is refused or held up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest
import trio.testing
from attrs import evolve

from qsup.errors import KernelRefused
from qsup.plan.policy import HostPolicy
from qsup.spec.parse import parse_vm
from qsup.supervisor import auditing, taken_pages
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.taken_pages import DEADLINE_S, TakenPages
from tests.supervisor.standing_in import services_without_systemd
from tests.truth.plans import a_plan

SOUND, LOCKED = 101, 102
PAGES = {(0, 4096): 7}


class Kernel:
    """Tells the pages of `SOUND`; those of `LOCKED` are refused, told, or hang until `freed`."""

    def __init__(self) -> None:
        self.locked: str = "refused"
        self.begun, self.freed = threading.Event(), threading.Event()

    def pages_taken(self, pid: int) -> Mapping[tuple[int, int], int]:
        if pid == LOCKED and self.locked == "hangs":
            self.begun.set()
            self.freed.wait()
        if pid == LOCKED and self.locked == "refused":
            raise KernelRefused("host.pages-unreadable", f"/proc/{pid}/numa_maps", 13, "no")
        return PAGES


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    fake = Kernel()
    monkeypatch.setattr(taken_pages, "pages_taken", fake.pages_taken)
    yield fake
    fake.freed.set()


def holding_of_two() -> Reservations:
    held = Reservations(HostPolicy())
    for name, pid in (("locked", LOCKED), ("sound", SOUND)):
        held.hold(evolve(a_plan([{0}], {0}, {}, {0}), name=name))
        held.note_process(name, pid)
    return held


async def test_one_that_is_refused_keeps_its_last_count(kernel: Kernel) -> None:
    counts = TakenPages()
    assert (await counts.count([LOCKED, SOUND]), counts.uncounted) == ({SOUND: PAGES}, frozenset({LOCKED}))
    kernel.locked = "told"
    assert (await counts.count([LOCKED, SOUND]), counts.uncounted) == ({SOUND: PAGES, LOCKED: PAGES}, frozenset())
    kernel.locked = "refused"
    assert (await counts.count([LOCKED]), counts.uncounted) == ({LOCKED: PAGES}, frozenset({LOCKED}))


async def test_another_vm_is_placed_all_the_same(kernel: Kernel) -> None:
    held = holding_of_two()
    spec = parse_vm('[cpu]\nvcpus = 1\n[memory]\nsize = "1MiB"\n', file="new.toml", name="new")
    reservation = await held.reserve(spec, {})
    assert reservation.plan.name == "new"
    taken = {name: dict(holding.base_taken_bytes) for name, holding in held.ledger.holdings.items()}
    assert taken == {"locked": {}, "sound": {0: 7 * 4096}, "new": {}}
    assert not held.all_counted


async def test_the_ledger_is_told_and_an_audit_does_not_call_their_pages_foreign(kernel: Kernel) -> None:
    services = evolve(services_without_systemd(), reservations=holding_of_two())
    assert set((await services.reservations.current()).holdings) == {"locked", "sound"}
    assert (await auditing._held(services))[1] is None
    kernel.locked = "told"
    assert (await auditing._held(services))[1] == {}


async def test_a_reader_that_hangs_is_waited_for_once(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.locked = "hangs"
    counts = TakenPages()
    monkeypatch.setattr(taken_pages, "DEADLINE_S", 0.01)
    assert (await counts.count([LOCKED]), counts.uncounted) == ({}, frozenset({LOCKED}))
    await trio.to_thread.run_sync(kernel.begun.wait)
    monkeypatch.setattr(taken_pages, "DEADLINE_S", float("inf"))
    assert (await counts.count([LOCKED, SOUND]), counts.uncounted) == ({SOUND: PAGES}, frozenset({LOCKED}))
    kernel.freed.set()
    while LOCKED in counts.uncounted:
        assert set(await counts.count([LOCKED, SOUND])) >= {SOUND}
    assert await counts.count([LOCKED]) == {LOCKED: PAGES}


async def test_the_deadline(kernel: Kernel, autojump_clock: trio.testing.MockClock) -> None:
    kernel.locked = "hangs"
    await TakenPages().count([LOCKED])
    assert trio.current_time() == DEADLINE_S
