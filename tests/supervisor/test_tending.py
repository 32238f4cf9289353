"""Keeping threads in place, on a process that stands in for QEMU: one thread, which is vCPU 0."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio
from attrs import evolve

from qsup.errors import KernelRefused
from qsup.host import affinity
from qsup.spec.parse import parse_vm
from qsup.supervisor import tending
from qsup.supervisor.fleet_watch import differs
from qsup.supervisor.mending import mend_memory
from qsup.supervisor.page_watch import COUNT_INTERVAL_S, _most_due, check_pages
from qsup.supervisor.services import Services
from qsup.supervisor.tending import tend_threads
from qsup.supervisor.vm_state import VmState
from qsup.truth.drift import MOVES_LIMIT
from qsup.truth.thread_facts import ThreadFacts
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
    (event,) = services.events.history()
    assert event.message.endswith(f"and is back on {min(PIN)}. Likely: {event.fields['suspects']}")
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


class Scheduling:
    """Stands in for the kernel's schedulers: not everybody may make real-time threads. Priorities are those of SCHED_FIFO."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, vm: VmState) -> None:
        assert vm.run.plan is not None
        vm.run.plan = evolve(vm.run.plan, realtime_priority=3)
        self.policy, self.priority, self.refuses = 0, 0, False
        self._read = affinity.read_thread
        monkeypatch.setattr(affinity, "read_thread", self.read_thread)
        monkeypatch.setattr(tending, "set_realtime", self.set_realtime)
        monkeypatch.setattr(os, "sched_getscheduler", lambda tid: self.policy)
        monkeypatch.setattr(os, "sched_getparam", lambda tid: os.sched_param(self.priority))

    def read_thread(self, pid: int, tid: int, *, kernel: bool = False) -> ThreadFacts | None:
        thread = self._read(pid, tid, kernel=kernel)
        return thread and evolve(thread, policy=self.policy, rt_priority=self.priority)

    def set_realtime(self, tid: int, priority: int) -> None:
        if self.refuses:
            raise KernelRefused("host.realtime-refused", "sched_setscheduler", 1, "no")
        self.policy, self.priority = os.SCHED_FIFO, priority


async def test_a_priority_that_somebody_takes_is_given_back(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Scheduling(monkeypatch, vm)
    for _ in range(2):  # the first one places, and looks for kernel threads
        await tend_threads(services, vm)
    assert (kernel.policy, kernel.priority, codes(services)) == (os.SCHED_FIFO, 3, [])
    now_s = trio.current_time()
    assert not differs(vm, now_s)
    for policy, priority, name in ((os.SCHED_OTHER, 0, "other"), (os.SCHED_FIFO, 2, "fifo 2"), (os.SCHED_RR, 3, "rr 3")):
        kernel.policy, kernel.priority = policy, priority
        assert differs(vm, now_s)
        await tend_threads(services, vm)
        assert (kernel.policy, kernel.priority) == (os.SCHED_FIFO, 3)
        (*_, event) = services.events.history()
        assert event.code == "vm.priority-restored"
        assert event.message == f"vcpu 0 (thread {tid_of(vm)}) was under {name} and is back at fifo 3"
        assert (event.fields["thread"], event.fields["from"], event.fields["to"]) == ("vcpu 0", name, "fifo 3")
    assert vm.run.truth.repairs == 3
    assert not differs(vm, now_s)


async def test_a_priority_that_is_taken_again_and_again_is_left(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Scheduling(monkeypatch, vm)
    kernel.policy, kernel.priority = os.SCHED_FIFO, 3
    os.sched_setaffinity(tid_of(vm), PIN)
    await tend_threads(services, vm)
    for _ in range(MOVES_LIMIT + 2):
        kernel.policy, kernel.priority = os.SCHED_OTHER, 0
        await tend_threads(services, vm)
    assert codes(services) == ["vm.priority-restored"] * MOVES_LIMIT + ["vm.thread-left-alone"]
    (*_, event) = services.events.history()
    assert f"lost its fifo 3 more than {MOVES_LIMIT} times" in event.message
    assert (event.fields["from"], event.fields["to"], "chrt" in event.fields["suspects"]) == ("fifo 3", "other", True)
    assert kernel.policy == os.SCHED_OTHER
    assert not differs(vm, trio.current_time())


async def test_without_repair_a_lost_priority_is_told_once(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Scheduling(monkeypatch, vm)
    text = '[vm]\nrepair = false\n[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n'
    vm.config.spec = parse_vm(text, file="vm.toml", name="vm")
    await tend_threads(services, vm)
    for policy in (os.SCHED_OTHER, os.SCHED_OTHER, os.SCHED_BATCH):
        kernel.policy, kernel.priority = policy, 0
        await tend_threads(services, vm)
    assert codes(services) == ["vm.priority-lost"] * 2
    assert [event.fields["to"] for event in services.events.history()] == ["other", "batch"]
    assert (kernel.policy, vm.run.truth.repairs) == (os.SCHED_BATCH, 0)


async def test_a_kernel_that_gives_no_priority_back_is_asked_rarely(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Scheduling(monkeypatch, vm)
    await tend_threads(services, vm)
    kernel.policy, kernel.priority, kernel.refuses = os.SCHED_OTHER, 0, True
    for _ in range(3):
        await tend_threads(services, vm)
    assert codes(services) == ["vm.thread-not-placeable"]
    assert [row.verdict for row in vm.run.rows] == ["not placeable"]


async def test_the_scheduler_of_ordinary_vcpus_is_no_matter(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Scheduling(monkeypatch, vm)
    assert vm.run.plan is not None
    vm.run.plan = evolve(vm.run.plan, realtime_priority=None)
    await tend_threads(services, vm)
    kernel.policy = os.SCHED_BATCH
    await tend_threads(services, vm)
    assert (codes(services), vm.run.truth.schedulers, kernel.policy) == ([], (), os.SCHED_BATCH)


async def test_pages_that_cannot_be_read_are_kept_as_such(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, sizes: object, *, transparent: bool) -> None:
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
