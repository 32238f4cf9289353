"""A QEMU that hangs in the kernel with its mappings locked: what it has mapped is unknown, and nobody else waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio
from attrs import evolve

from qsup.errors import BadRequest, KernelRefused
from qsup.plan.vmplan import DiskPlan, ImagePlan
from qsup.supervisor import page_watch, verifying
from qsup.supervisor.mending import mend_memory
from qsup.supervisor.page_watch import check_pages, count_pages
from qsup.supervisor.process_reads import ProcessReads
from qsup.supervisor.verifying import verify_all, verify_vm
from qsup.supervisor.vm_state import VmState
from qsup.truth.disk_aio import AioFacts
from qsup.truth.memory import MappingFacts
from tests.supervisor.standing_in import codes, services_without_systemd, vm_of_a_shell

DISK = DiskPlan("disk0", (ImagePlan("/srv/a.raw", "raw", False),), False, "none", "native", "unmap", None, 4, None, 1)
WELL = MappingFacts(1 << 44, 64 << 20, "bind", frozenset({0}), 4096, False, ((0, 7),))


class Kernel:
    """Whoever reads a process of `locked` hangs until `freed`; `asked` has all of them."""

    def __init__(self) -> None:
        self.locked: set[int] = set()
        self.asked: list[int] = []
        self.freed = threading.Event()

    def lock(self, vm: VmState) -> int:
        assert vm.run.process is not None
        self.locked.add(vm.run.process.pid)
        return vm.run.process.pid

    def read(self, pid: int) -> None:
        self.asked.append(pid)
        if pid in self.locked:
            self.freed.wait()

    def read_mappings(self, pid: int, *_: object, **__: object) -> tuple[MappingFacts, ...]:
        self.read(pid)
        return (WELL,)

    def read_aio(self, pid: int) -> AioFacts:
        self.read(pid)
        return AioFacts(1, 0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    fake = Kernel()
    monkeypatch.setattr(page_watch, "read_mappings", fake.read_mappings)
    monkeypatch.setattr(verifying, "read_aio", fake.read_aio)
    yield fake
    fake.freed.set()


def set_patience(monkeypatch: pytest.MonkeyPatch, deadline_s: float) -> None:
    monkeypatch.setattr(page_watch, "DEADLINE_S", deadline_s)
    monkeypatch.setattr(verifying, "AIO_DEADLINE_S", deadline_s)


@pytest.fixture
def two() -> Iterator[tuple[VmState, VmState]]:
    with vm_of_a_shell("hangs") as hangs, vm_of_a_shell("sound") as sound:
        for vm in (hangs, sound):
            assert vm.run.plan is not None
            vm.run.plan = evolve(vm.run.plan, disks=(DISK,))
        yield hangs, sound


async def test_all_others_are_verified_and_counted(
    kernel: Kernel, two: tuple[VmState, VmState], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, sound = two
    pid = kernel.lock(hangs)
    set_patience(monkeypatch, 0.01)
    table = await verify_vm(hangs)
    (memory,), (disk,) = table.memory, table.disks
    assert (memory.verdict, disk.verdict, disk.aio_in_force) == ("unknown", "unknown", None)
    assert f"the pages of process {pid} cannot be read within" in memory.note
    assert "it hangs in the kernel" in disk.note
    assert [row.tid for row in table.threads] == [pid], "what needs no mappings is told"
    set_patience(monkeypatch, float("inf"))
    (memory,) = (await verify_vm(sound)).memory
    assert (memory.verdict, memory.present_bytes) == ("ok", 7 * 4096)
    assert [row.vm for row in await verify_all([hangs, sound] * 5)] == ["hangs", "sound"]


async def test_one_that_hangs_is_not_asked_again_before_it_is_back(
    kernel: Kernel, two: tuple[VmState, VmState], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, _ = two
    pid = kernel.lock(hangs)
    set_patience(monkeypatch, 0.01)
    await verify_vm(hangs)
    set_patience(monkeypatch, float("inf"))
    for _ in range(3):
        await verify_vm(hangs)
    while len(kernel.asked) < 2:  # a thread may begin late
        await trio.lowlevel.checkpoint()
    assert kernel.asked == [pid, pid], "one reader of its pages and one of its aio hang, and no more"
    kernel.freed.set()
    while "unknown" in {row.verdict for row in (await verify_vm(hangs)).memory}:
        pass


async def test_nothing_is_said_of_pages_that_could_not_be_counted(
    kernel: Kernel, two: tuple[VmState, VmState], monkeypatch: pytest.MonkeyPatch
) -> None:
    services = services_without_systemd()
    hangs, _ = two
    kernel.lock(hangs)
    set_patience(monkeypatch, 0.01)
    hangs.run.truth.misplaced_told = frozenset({"mem0"})
    await check_pages(services, hangs)
    assert (codes(services), set(hangs.run.truth.misplaced_told)) == ([], {"mem0"})
    with pytest.raises(BadRequest, match="cannot be moved: the pages of process") as caught:
        await mend_memory(services, hangs)
    assert (caught.value.code, hangs.run.truth.mending) == ("supervisor.not-counted", False)


async def test_whoever_cancels_does_not_wait_for_the_reader(kernel: Kernel, two: tuple[VmState, VmState]) -> None:
    hangs, sound = two
    pid = kernel.lock(hangs)
    for count, ask in enumerate((lambda: count_pages(hangs.run), lambda: verify_all([hangs])), 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while len(kernel.asked) < count:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert kernel.asked == [pid, pid]
    await verify_vm(sound)


def never() -> None:
    raise AssertionError("it is not read")


async def test_a_process_is_read_by_several_at_once_where_none_hangs() -> None:
    reads = ProcessReads(at_once=2)
    both = threading.Barrier(2)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(reads.read, 7, "it", both.wait, float("inf"))


async def test_who_is_cancelled_before_the_reader_begins_leaves_none_behind() -> None:
    reads = ProcessReads(at_once=1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await reads.read(7, "it", never, 1)
    assert await reads.read(7, "it", lambda: "read", float("inf")) == "read"


async def test_what_the_read_raises_is_raised_and_it_may_be_read_again() -> None:
    reads = ProcessReads(at_once=1)

    def refuse() -> None:
        raise KernelRefused("host.pages-unreadable", "/proc/7", 13, "no")

    for _ in range(2):
        with pytest.raises(KernelRefused, match="no"):
            await reads.read(7, "it", refuse, float("inf"))
