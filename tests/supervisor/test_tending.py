"""Keeping threads in place, on a process that stands in for QEMU: one thread, which is vCPU 0."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio

from qsup.errors import KernelRefused
from qsup.supervisor import tending
from qsup.supervisor.mending import mend_memory
from qsup.supervisor.page_watch import COUNT_INTERVAL_S, _most_due, check_pages
from qsup.supervisor.services import Services
from qsup.supervisor.tending import tend_threads
from qsup.supervisor.vm_state import VmState
from tests.supervisor.standing_in import MINE, PIN, codes, needs_two, services_without_systemd, tid_of, vm_of_a_shell


@pytest.fixture
def vm() -> Iterator[VmState]:
    with vm_of_a_shell() as state:
        yield state


@pytest.fixture
def services() -> Services:
    return services_without_systemd()


@needs_two
async def test_new_then_moved_then_gone(services: Services, vm: VmState) -> None:
    await tend_threads(services, vm)
    assert os.sched_getaffinity(tid_of(vm)) == PIN
    assert (codes(services), vm.run.truth.repairs) == ([], 0)
    os.sched_setaffinity(tid_of(vm), MINE)
    await tend_threads(services, vm)
    assert os.sched_getaffinity(tid_of(vm)) == PIN
    assert (codes(services), vm.run.truth.repairs) == (["vm.thread-moved-back"], 1)
    assert vm.run.placed
    assert vm.run.process is not None
    vm.run.process.send_signal(9)
    await vm.run.process.wait_gone()
    await tend_threads(services, vm)
    assert codes(services) == ["vm.thread-moved-back"]


async def test_a_thread_that_the_kernel_refuses_is_named_once_and_tried_rarely(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def refuse(tid: int, pcpus: frozenset[int]) -> None:
        tried.append(tid)
        raise KernelRefused("host.mask-refused", "sched_setaffinity", 22, "no")

    monkeypatch.setattr(tending, "set_affinity", refuse)
    os.sched_setaffinity(tid_of(vm), MINE)
    if MINE == PIN:
        pytest.skip("with one pCPU nothing can be elsewhere")
    for _ in range(3):
        await tend_threads(services, vm)
    assert codes(services) == ["vm.thread-not-placeable"]
    assert tried == [tid_of(vm)]
    assert [row.verdict for row in vm.run.rows] == ["not placeable"]
    assert vm.run.placed, "what cannot be helped holds up nothing else"


async def test_a_thread_that_vanishes_while_it_is_put_back_is_no_trouble(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(tid: int, pcpus: frozenset[int]) -> None:
        raise KernelRefused("host.thread-gone", "sched_setaffinity", 3, "gone")

    await tend_threads(services, vm)
    monkeypatch.setattr(tending, "set_affinity", vanish)
    os.sched_setaffinity(tid_of(vm), MINE)
    await tend_threads(services, vm)
    assert "vm.thread-not-placeable" not in codes(services)


async def test_pages_that_cannot_be_read_are_kept_as_such(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, sizes: object) -> None:
        raise KernelRefused("host.pages-unreadable", "/proc/1/numa_maps", 13, "the pages cannot be counted")

    monkeypatch.setattr("qsup.supervisor.page_watch.read_mappings", refuse)
    await check_pages(services, vm)
    assert vm.run.truth.count is not None
    assert vm.run.truth.count.problem == "the pages cannot be counted"
    assert codes(services) == []


async def test_each_vm_is_counted_once_an_hour_the_longest_waiting_first(services: Services, vm: VmState) -> None:
    other = VmState("other")
    other.run.process, other.run.started = vm.run.process, True
    services.fleet.update(vm=vm, other=other, off=VmState("off"))
    now_s = trio.current_time()
    vm.run.truth.counted_s = now_s
    assert _most_due(services, now_s) is other
    other.run.truth.counted_s = now_s + 1
    assert _most_due(services, now_s + 2) is None
    assert _most_due(services, now_s + COUNT_INTERVAL_S + 1) is vm


async def test_memory_that_is_where_it_should_be_is_not_moved(services: Services, vm: VmState) -> None:
    mended = await mend_memory(services, vm)
    assert (mended.backends, codes(services), vm.run.truth.mending) == ((), [], False)
