"""A Registry that keeps its VMs in memory: small, but honest to the contract of `qsup.api.registry`."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import trio
import trio.testing
from attrs import evolve

from qsup.api.registry import Verb
from qsup.errors import BadRequest, QmpRefused
from qsup.plan.ledger import Ledger
from qsup.supervisor.metric import Family
from qsup.supervisor.top_view import TopFrame
from qsup.supervisor.view import CmdlineView, EventView, Outcome, VmView
from qsup.supervisor.wait_watch import WaitReport
from qsup.truth.audit.report import AuditReport
from qsup.truth.audit.table import rule_of
from qsup.truth.host_map import HostMap
from qsup.truth.page_moves import MemoryMended
from qsup.truth.verified import VmVerified
from qsup.truth.wait_history import WaitMinute
from tests.api.audited import troubled_without
from tests.api.reports import FIRST_REPORT, METRICS, WAIT_MINUTES, WAIT_REPORT
from tests.api.tops import TOP_FRAME, top_of_one
from tests.api.verified import ABSENT, MENDED, SOUND, TROUBLED
from tests.api.views import BARE_VM, CMDLINE, EVENT, FULL_VM, HOST, HOST_EVENT, REFUSED_VM

_GOALS: Mapping[str, str] = {
    "start": "running",
    "stop": "absent",
    "restart": "running",
    "reset": "running",
    "pause": "paused",
    "resume": "running",
}


class MemoryRegistry:
    """Orders change the phase at once, but wait for `gate` when it is closed; `failures` says which VMs fail, and how."""

    def __init__(self) -> None:
        self.vms: dict[str, VmView] = {vm.name: vm for vm in (FULL_VM, BARE_VM, REFUSED_VM)}
        self.history: list[EventView] = [EVENT, HOST_EVENT]
        self.orders: list[tuple[str, str, bool, bool, bool]] = []
        self.failures: dict[str, Exception] = {}
        self.report: WaitReport | None = WAIT_REPORT
        self.reports: list[WaitReport] = [FIRST_REPORT, WAIT_REPORT]
        self.wait_followers: set[trio.MemorySendChannel[WaitReport]] = set()
        self.gate = trio.Event()
        self.gate.set()
        self.cancelled_waits = 0
        self.backlog = 16
        self.held = Ledger()
        self.picture = HostMap(2, 2, 1, 2, "0-1", ("web1",), ())
        self.guest_ends: list[trio.abc.Stream] = []
        self._followers: set[trio.MemorySendChannel[EventView]] = set()
        self._used = trio.lowlevel.ParkingLot()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until clients have done something that makes the condition hold."""
        with trio.fail_after(30):
            while not condition():
                await self._used.park()

    def views(self) -> Sequence[VmView]:
        return [vm for _, vm in sorted(self.vms.items())]

    def view(self, name: str) -> VmView:
        if name not in self.vms:
            near = difflib.get_close_matches(name, self.vms, 1)
            hint = f"did you mean {near[0]}?" if near else None
            raise BadRequest("api.unknown-vm", f"there is no VM called {name!r}", hint)
        return self.vms[name]

    async def act(self, name: str, verb: Verb, *, paused: bool = False, force: bool = False, wait: bool = True) -> Outcome:
        vm = self.view(name)
        self.orders.append((name, verb, paused, force, wait))
        self._used.unpark_all()
        if name in self.failures:
            raise self.failures[name]
        goal = "paused" if paused else _GOALS[verb]
        changed = vm.phase != goal or verb in ("restart", "reset")
        if wait:
            await self._wait_gate()
        pid = None if goal == "absent" else 4242
        self.vms[name] = evolve(vm, phase=goal, pid=pid)
        return Outcome(name, verb, changed, goal if changed else f"already {goal}", goal)

    async def _wait_gate(self) -> None:
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.cancelled_waits += 1
            raise

    def publish(self, event: EventView) -> None:
        self.history.append(event)
        for follower in list(self._followers):
            try:
                follower.send_nowait(event)
            except trio.WouldBlock:
                self._followers.discard(follower)
                follower.close()

    def events(self, after_seq: int | None) -> tuple[EventView, ...]:
        return tuple(event for event in self.history if after_seq is None or event.seq > after_seq)

    @asynccontextmanager
    async def follow(self, after_seq: int | None) -> AsyncIterator[trio.MemoryReceiveChannel[EventView]]:
        send, receive = trio.open_memory_channel[EventView](self.backlog)
        for event in () if after_seq is None else self.events(after_seq):
            send.send_nowait(event)
        self._followers.add(send)
        self._used.unpark_all()
        try:
            async with receive:
                yield receive
        finally:
            self._followers.discard(send)
            send.close()

    def follower_count(self) -> int:
        return len(self._followers)

    def cmdline(self, name: str) -> CmdlineView:
        if self.view(name).pid is None:
            raise BadRequest("supervisor.not-running", f"{name} is not running")
        return CMDLINE

    async def qmp(self, name: str, command: str, arguments: Mapping[str, object]) -> object:
        self.view(name)
        if command == "query-status":
            return {"status": "running", "arguments": dict(arguments)}
        if command == "crash":
            raise ZeroDivisionError("a fault of the registry's own")
        raise QmpRefused(command, "CommandNotFound", f"The command {command} has not been found")

    async def hmp(self, name: str, text: str) -> str:
        self.view(name)
        return f"you said {text}\r\n"

    async def open_console(self, name: str) -> trio.abc.Stream:
        if self.view(name).pid is None:
            raise BadRequest("supervisor.not-running", f"{name} is not running")
        ours, guests = trio.testing.memory_stream_pair()
        self.guest_ends.append(guests)
        self._used.unpark_all()
        return ours

    async def ledger(self) -> Ledger:
        return self.held

    async def verify(self, name: str) -> VmVerified:
        self.view(name)
        return {table.vm: table for table in (ABSENT, TROUBLED)}.get(name, evolve(SOUND, vm=name))

    async def verify_all(self, name: str | None = None) -> Sequence[VmVerified]:
        return [ABSENT, SOUND, TROUBLED] if name is None else [await self.verify(name)]

    async def repair_memory(self, name: str) -> MemoryMended:
        if self.view(name).pid is None:
            raise BadRequest("supervisor.not-running", f"{name} is not running")
        return MENDED

    async def audit(self, skip: Collection[str]) -> AuditReport:
        for rule_id in skip:
            rule_of(rule_id)
        return troubled_without(frozenset(skip))

    def wait(self) -> WaitReport | None:
        return self.report

    def wait_history(self, name: str) -> tuple[WaitMinute, ...]:
        return WAIT_MINUTES if self.view(name).name == "web1" else ()

    @asynccontextmanager
    async def follow_wait(self) -> AsyncIterator[trio.MemoryReceiveChannel[WaitReport]]:
        send, receive = trio.open_memory_channel[WaitReport](self.backlog)
        for report in self.reports:
            send.send_nowait(report)
        self.wait_followers.add(send)
        self._used.unpark_all()
        try:
            async with receive:
                yield receive
        finally:
            self.wait_followers.discard(send)
            self._used.unpark_all()
            send.close()

    def top(self, report: WaitReport | None, name: str | None) -> TopFrame:
        if report is None:
            return TopFrame(TOP_FRAME.at_s, None, False, False, None, TOP_FRAME.vms[1:2])
        frame = TOP_FRAME if name is None else top_of_one(name)
        return evolve(frame, at_s=report.at_s, blamed=report.interval.blamed, settled=report.interval.blamed)

    async def topology(self) -> HostMap:
        return self.picture

    def metrics(self) -> Sequence[Family]:
        return METRICS

    def host(self) -> Mapping[str, object]:
        return HOST
