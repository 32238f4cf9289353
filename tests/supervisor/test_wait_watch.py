"""The sampler: how often, for whom, what it keeps. Real threads, scripted samples, a clock that jumps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import pytest
import trio
import trio.testing
from attrs import evolve

from qsup.host.sched_samples import SchedSamples, Target
from qsup.process.handle import QemuProcess
from qsup.process.identity import read_identity
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_targets import Targets
from qsup.supervisor.wait_watch import FOLLOWER_BACKLOG, WaitWatch
from qsup.truth.threads import ThreadIds, ThreadRow
from qsup.truth.wait import WaitInterval
from qsup.truth.wait_samples import HostSample
from tests.truth.sampling import SECOND_NS, TICKS, Act, Host

ACTS = (Act("vcpu 0", run_ms=250, wait_ms=750, vm="web1"), Act("burn[1]", 750))


class Scripted(SchedSamples):
    """Each sample is a second after the last, and the acts have been played once more."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: list[bool] = []

    def take(self, targets: Sequence[Target], *, watched: bool) -> HostSample:
        turn = len(self.watched)
        self.watched.append(watched)
        played = Host(tuple(evolve(act, run_ms=act.run_ms * turn, wait_ms=act.wait_ms * turn) for act in ACTS))
        before, after = played.samples()
        sample = after if turn else before
        return evolve(sample, at_ns=(10 + turn) * SECOND_NS, at_ticks=before.at_ticks + turn * TICKS)


async def at_once(work: Callable[[], WaitInterval | None]) -> WaitInterval | None:
    """Here, since a clock that jumps does not wait for a thread."""
    return work()


@pytest.fixture
def vm() -> Iterator[VmState]:
    """A VM whose process is this test's own."""
    state = VmState("web1")
    identity = read_identity(os.getpid())
    assert identity is not None
    state.run.process = QemuProcess.open(identity)
    yield state
    if state.run.process is not None:
        state.run.process.close()


async def test_every_five_seconds_and_every_second_while_somebody_follows(autojump_clock: trio.testing.MockClock) -> None:
    samples = Scripted()
    watch = WaitWatch({}, samples, at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(60)
        alone = len(samples.watched)
        assert alone in (12, 13)
        assert not any(samples.watched)
        async with watch.follow() as reports:
            seen = 0
            with trio.move_on_after(30.2):
                async for _ in reports:
                    seen += 1
        assert all(samples.watched[alone + 1 :])
        assert len(samples.watched) - alone in (30, 31, 32)
        assert seen in (30, 31, 32)
        watched = len(samples.watched)
        await trio.sleep(60)
        assert len(samples.watched) - watched in (12, 13)
        nursery.cancel_scope.cancel()


async def test_what_is_kept_of_each_vm_and_that_it_goes_with_it(autojump_clock: trio.testing.MockClock, vm: VmState) -> None:
    fleet = {"web1": vm}
    watch = WaitWatch(fleet, Scripted(), at_once)
    assert (watch.latest, watch.history("web1"), watch.totals("web1")) == (None, (), {})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        async with watch.follow() as reports:
            first = await reports.receive()
            await reports.receive()
        assert first.interval.vms[0].threads[0].ready_share == 0.75
        total = watch.totals("web1")["vcpu"]
        assert (total.run_s, total.wait_s, total.threads) == (0.5, 1.5, 1)
        assert watch.skew_share("web1") == watch.throttled_s("web1") == 0
        assert [item.who for item in watch.history("web1")[-1].blame] == ["burn[1]"]
        nursery.cancel_scope.cancel()


async def test_one_who_does_not_read_is_cut_off_and_delays_nobody(autojump_clock: trio.testing.MockClock) -> None:
    watch = WaitWatch({}, Scripted(), at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        async with watch.follow() as slow:
            await trio.sleep(FOLLOWER_BACKLOG * 2)
            assert len([report async for report in slow]) == FOLLOWER_BACKLOG
        nursery.cancel_scope.cancel()


def row(tid: int | None, thread_class: str, label: str, affinity: frozenset[int] = frozenset({1})) -> ThreadRow:
    return ThreadRow(thread_class, label, tid, label, affinity, affinity, "ok")  # type: ignore[arg-type]


def test_targets_are_the_rows_of_the_last_look(vm: VmState) -> None:
    assert vm.run.process is not None
    pid = vm.run.process.pid
    vm.run.ids = ThreadIds(vhost_kthreads=frozenset({77}))
    vm.run.rows = (
        row(11, "vcpu", "vcpu 0"),
        row(None, "iothread", "iothread io0"),
        row(12, "emulator", "emulator", frozenset({0, 1})),
        row(77, "vhost", "vhost"),
        row(78, "kernel", "kvm-pit"),
    )
    found = [(target.pid, target.tid, target.thread.who, target.fixed) for target in Targets({vm.name: vm}).current()]
    assert found == [
        (pid, 11, "web1 vCPU 0", True),
        (pid, 12, "web1 emulator", False),
        (77, 77, "web1 vhost", True),
        (78, 78, "web1 kvm-pit", True),
    ]


def test_a_vm_whose_monitor_is_silent_is_sampled_by_what_the_kernel_tells(vm: VmState) -> None:
    (target, *_) = Targets({vm.name: vm}).current()
    assert (target.tid, target.thread.thread_class) == (os.getpid(), "emulator")
    vm.run.gone = True
    assert not Targets({vm.name: vm}).current()


def test_targets_are_made_anew_only_where_a_look_found_something_else(vm: VmState) -> None:
    vm.run.rows = (row(11, "vcpu", "vcpu 0"),)
    fleet = {vm.name: vm}
    targets = Targets(fleet)
    first = targets.current()
    assert targets.current() is first
    vm.run.rows = (row(11, "vcpu", "vcpu 0"),)
    assert targets.current() is first, "another look that found the same"
    vm.run.rows = (row(11, "vcpu", "vcpu 0"), row(12, "emulator", "emulator"))
    assert [target.tid for target in targets.current()] == [11, 12]
    fleet.clear()
    assert not targets.current()
