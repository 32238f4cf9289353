"""Frames of `top`: what QEMUs and links tell becomes rates; who is asked, how often, and what a silent one leaves behind."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import define, evolve

from qsup.host.net_counters import LinkCounters
from qsup.process.handle import QemuProcess
from qsup.process.identity import read_identity
from qsup.supervisor import top_counters
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.top import MOST_WAITING, Top
from qsup.supervisor.top_counters import ASKED_A_TURN, LEASE_S, TURN_S
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_watch import WaitReport
from qsup.truth.memory import MappingFacts, MemoryCount
from qsup.truth.threads import ThreadRow
from qsup.truth.wait import ClassTime, ThreadWait, VmWait, WaitInterval
from tests.argv.plans import disk, huge_node, nic, vm_plan
from tests.qmp.speaker import Speaker, open_talk, socket_streams
from tests.supervisor.test_metrics import COUNTERS, DISK

PIN = frozenset({1})
PLAN = vm_plan(nics=(nic(),), disks=(disk(),))
ROWS = (
    ThreadRow("vcpu", "vcpu 0", 11, "CPU 0/KVM", PIN, PIN, "ok"),
    ThreadRow("vcpu", "vcpu 1", 12, "CPU 1/KVM", PIN, frozenset({2}), "drift"),
    ThreadRow("emulator", "emulator", None, "", PIN, PIN, "missing"),
)


@define
class Qemu:
    """The other end of one VM's monitor: counts what it is asked, and answers with counters that grow each time."""

    vm: VmState
    speaker: Speaker
    asked: int = 0
    stats_known: bool = True

    async def serve(self) -> None:
        while (line := await self.speaker.hear_line()) is not None:
            request = json.loads(line)
            if request["execute"] == "query-blockstats":
                self.asked += 1
                stats = {
                    **COUNTERS,
                    "wr_bytes": 1000 * self.asked,
                    "wr_operations": 2 * self.asked,
                    "wr_total_time_ns": 10**6 * self.asked,
                }
                await self.speaker.answer(request, [{**DISK, "stats": stats}])
            elif self.stats_known:
                kvm = [{"name": "exits", "value": 500 * self.asked}]
                await self.speaker.answer(request, [{"provider": "kvm", "stats": kvm}] * 2)
            else:
                await self.speaker.refuse(request, "CommandNotFound", "The command query-stats has not been found")


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each look at the links finds 1000 bytes more that came from the guest."""
    turns = [0]

    def read() -> dict[str, LinkCounters]:
        turns[0] += 1
        return {nic().tap: LinkCounters(1000 * turns[0], 5, 0, 0, 0, 0, 0, turns[0])}

    monkeypatch.setattr(top_counters, "read_link_counters", read)
    return turns


@asynccontextmanager
async def running(count: int) -> AsyncIterator[tuple[Top, list[Qemu]]]:
    """A fleet of VMs that run and answer."""
    identity = read_identity(os.getpid())
    assert identity is not None
    fleet: dict[str, VmState] = {}
    qemus: list[Qemu] = []
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        for number in range(count):
            vm = VmState(f"vm{number:02}", phase="running")
            vm.run.process, vm.run.plan, vm.run.rows = QemuProcess.open(identity), PLAN, ROWS
            vm.run.link = QmpLink("q", "t", changed=lambda: None, on_event=lambda event: None, patience_s=5)
            vm.run.link.telemetry, speaker = await stack.enter_async_context(open_talk(socket_streams()))
            qemu = Qemu(vm, speaker)
            nursery.start_soon(qemu.serve)
            fleet[vm.name] = vm
            qemus.append(qemu)
        top = Top(fleet)
        nursery.start_soon(top.run)
        yield top, qemus
        nursery.cancel_scope.cancel()
    for qemu in qemus:
        if qemu.vm.run.process is not None:
            qemu.vm.run.process.close()


async def watch(top: Top, seconds: int, vm: str | None = None) -> None:
    """Ask for a frame each second, as a watcher's stream does."""
    for _ in range(seconds):
        top.frame(None, vm)
        await trio.sleep(TURN_S)
    await trio.testing.wait_all_tasks_blocked()


async def test_counters_become_rates(autojump_clock: trio.testing.MockClock) -> None:
    async with running(1) as (top, _):
        first = top.frame(None, None)
        assert (first.settled, first.vms[0].qemu) == (False, None)
        await watch(top, 3)
        (vm,) = top.frame(None, None).vms
    assert vm.qemu is not None
    (disk,) = vm.qemu.disks
    assert (disk.disk, disk.written_bytes, disk.writes, disk.write_ms, disk.reads, disk.read_ms) == (
        "disk0",
        1000,
        2,
        0.5,
        0,
        None,
    )
    assert vm.qemu.exits == {"exits": 1000}, "both vCPUs together"
    assert vm.qemu.span_s == TURN_S
    (nic,) = vm.nics
    assert (nic.sent_bytes, nic.received_bytes, nic.dropped) == (1000, 0, 1)


async def test_nobody_is_asked_without_a_watcher(autojump_clock: trio.testing.MockClock, links: list[int]) -> None:
    async with running(1) as (top, (qemu,)):
        await trio.sleep(100)
        assert (qemu.asked, links[0]) == (0, 0)
        top.frame(None, None)
        await trio.sleep(100)
        assert qemu.asked <= LEASE_S / TURN_S + 1
        assert top.frame(None, None).vms[0].qemu is None, "what is a minute old says nothing about now"


async def test_so_many_are_asked_in_a_turn_and_no_more(autojump_clock: trio.testing.MockClock, links: list[int]) -> None:
    async with running(3 * ASKED_A_TURN) as (top, qemus):
        await watch(top, 6)
        assert sum(qemu.asked for qemu in qemus) == links[0] * ASKED_A_TURN
        asked = [qemu.asked for qemu in qemus]
        assert max(asked) - min(asked) <= 1, "each in its turn"
        last = qemus[-1]
        before = last.asked
        await watch(top, 3, last.vm.name)
        assert last.asked - before >= 3, "the one that is looked at, each time"


async def test_a_silent_one_is_left_alone_and_what_it_told_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with running(1) as (top, (qemu,)):
        await watch(top, 3)
        assert qemu.vm.run.link is not None
        qemu.vm.run.link.silent_since_s = trio.current_time()
        asked = qemu.asked
        await watch(top, 5)
        (vm,) = top.frame(None, None).vms
    assert qemu.asked == asked
    assert vm.silent_s == pytest.approx(5)
    assert vm.qemu is not None
    assert vm.qemu.disks[0].written_bytes == 1000


async def test_a_qemu_without_statistics_is_asked_for_them_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(1) as (top, (qemu,)):
        qemu.stats_known = False
        await watch(top, 4)
        (vm,) = top.frame(None, None).vms
    assert vm.qemu is not None
    assert (vm.qemu.exits, vm.qemu.disks[0].written_bytes) == ({}, 1000)


async def test_the_next_qemu_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    async with running(1) as (top, (qemu,)):
        await watch(top, 3)
        process, qemu.vm.run.process = qemu.vm.run.process, None
        assert top.frame(None, None).vms[0].qemu is None
        qemu.vm.run.process = process


def wait_of(vm: str, *ready: float) -> VmWait:
    threads = tuple(ThreadWait(f"vcpu {n}", "vcpu", 11 + n, 1, 0.5, share) for n, share in enumerate(ready))
    return VmWait(vm, max(ready), 0.0, 0.0, threads, {"vcpu": ClassTime(1_000_000_000, 0, len(ready))})


def report(*waits: VmWait) -> WaitReport:
    return WaitReport(1000.0, WaitInterval(2.0, True, 0.0, waits))


async def test_a_row_says_who_waited_most(autojump_clock: trio.testing.MockClock) -> None:
    async with running(2) as (top, _):
        frame = top.frame(report(wait_of("vm00", 0.001, 0.002), wait_of("vm01", 0.1, 0.3)), None)
    quiet, waiting = frame.vms
    assert (quiet.run_share, quiet.ready_share, quiet.worst) == (0.5, 0.002, None)
    assert waiting.worst is not None
    assert (waiting.worst.role, waiting.ready_share) == ("vcpu 1", 0.3)
    assert [(vm, thread.role) for vm, thread in frame.waiting] == [("vm01", "vcpu 1"), ("vm01", "vcpu 0")]
    assert frame.threads is None


async def test_the_waiting_threads_of_a_crowd_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with running(1) as (top, _):
        frame = top.frame(report(wait_of("vm00", *(0.5 - n / 1000 for n in range(3 * MOST_WAITING)))), None)
    assert len(frame.waiting) == MOST_WAITING
    assert [thread.role for _, thread in frame.waiting[:2]] == ["vcpu 0", "vcpu 1"]


async def test_the_threads_of_one(autojump_clock: trio.testing.MockClock) -> None:
    async with running(2) as (top, _):
        frame = top.frame(report(wait_of("vm01", 0.1, 0.2, 0.3)), "vm01")
        assert [vm.name for vm in frame.vms] == ["vm01"]
        assert frame.threads is not None
        rows = [(thread.role, thread.tid, thread.affinity, thread.verdict) for thread in frame.threads]
        assert rows == [
            ("vcpu 0", 11, "1", "ok"),
            ("vcpu 1", 12, "2", "drift"),
            ("emulator", None, "1", "missing"),
            ("vcpu 2", 13, "", "unknown"),
        ]
        assert frame.threads[1].wait is not None
        assert frame.threads[1].wait.ready_share == 0.2
        (vm,) = frame.vms
        assert vm.drifting == 1


async def test_locality_follows_the_last_count(autojump_clock: trio.testing.MockClock) -> None:
    async with running(1) as (top, (qemu,)):
        assert qemu.vm.run.plan is not None
        node = huge_node(host_nodes=(0,), policy="bind")
        qemu.vm.run.plan = evolve(qemu.vm.run.plan, guest_nodes=(node,))
        assert top.frame(None, None).vms[0].memory.counted_at_s is None
        mapping = MappingFacts(4096, node.size_bytes, "bind", frozenset({0}), 1 << 21, True, ((0, 30), (1, 10)))
        qemu.vm.run.truth.count = MemoryCount(500.0, (mapping,))
        memory = top.frame(None, None).vms[0].memory
        assert (memory.local_percent, memory.misplaced_bytes, memory.counted_at_s) == (75.0, 10 << 21, 500.0)
        untold = evolve(mapping, policy=None, policy_nodes=frozenset(), pages=(), held_bytes=40 << 21)
        qemu.vm.run.truth.count = MemoryCount(600.0, (untold,))
        assert top.frame(None, None).vms[0].memory.local_percent is None, "nodes are unknown"


async def test_one_that_is_off_has_a_row() -> None:
    (vm,) = Top({"off1": VmState("off1")}).frame(None, None).vms
    assert (vm.phase, vm.pid, vm.run_share, vm.qemu, vm.nics) == ("absent", None, None, None, ())
    assert vm.memory.local_percent is None
