"""Disk, nic and exit rates for `qsup top`, as long as somebody watches.

Strategy: the links are read once a second, all by one read. QEMUs are asked in turn, so many a second and no more, whoever
waited longest first; the VM that is looked at comes before all others. So watching costs the same with 10 VMs and with 1000:
only the rates are over a longer span. Nobody waits for an answer; one that owes some is not asked again, and what it told last
stays and grows old.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import trio
from attrs import define, evolve, field

from qsup.errors import QmpRefused
from qsup.host.net_counters import LinkCounters, read_link_counters
from qsup.plan.vmplan import NicPlan, VmPlan
from qsup.qmp.messages import Answer, Refusal
from qsup.qmp.request import Outcome, Question
from qsup.qmp.results import BlockCounters
from qsup.qmp.session import QmpSession
from qsup.qmp.shapes import Shape
from qsup.qmp.stats import QUERY_STATS, stats_arguments, sums_of
from qsup.supervisor.guest_stats import disk_id_of
from qsup.supervisor.seconds import next_second
from qsup.supervisor.top_view import DiskRates, NicRates, QemuRates
from qsup.supervisor.vm_state import VmState
from qsup.truth.rates import each_ms, per_second

TURN_S = 1.0
ASKED_A_TURN = 5
LEASE_S = 5.0
SETTLED_TURNS = 3
EXITS = ("exits", "halt_exits", "io_exits", "mmio_exits", "irq_exits", "signal_exits", "hypercalls", "insn_emulation")
_BLOCKSTATS = "query-blockstats"
_EXITS_ARGUMENTS = stats_arguments("vcpu", EXITS)

Links = Mapping[str, LinkCounters]


@define(eq=False)
class _Asked:
    """One QEMU: what it told last with the moment of trio's clock, and the rates that came of the last two answers."""

    pid: int
    asked_s: float = float("-inf")
    owed: int = 0
    refuses: set[str] = field(factory=set)
    disks: tuple[float, Mapping[str, BlockCounters]] | None = None
    exits: tuple[float, Mapping[str, int]] | None = None
    rates: QemuRates | None = None


class TopCounters:
    """Asks while it is wanted."""

    def __init__(self, fleet: Mapping[str, VmState]) -> None:
        self._fleet = fleet
        self._wanted_until_s = float("-inf")
        self._wanted = trio.Event()
        self._first: dict[str, float] = {}
        self._asked: dict[str, _Asked] = {}
        self._links: tuple[float, Links] = (0.0, {})
        self._links_before: tuple[float, Links] = (0.0, {})
        self._turns = 0

    def want(self, looked_at: str | None) -> None:
        """Somebody watches: go on for a while; `looked_at` is asked first, each time."""
        self._wanted_until_s = trio.current_time() + LEASE_S
        if looked_at is not None:
            self._first[looked_at] = self._wanted_until_s
        self._wanted.set()

    @property
    def settled(self) -> bool:
        """Several turns have passed since somebody began to watch."""
        return self._turns >= SETTLED_TURNS

    async def run(self) -> None:
        """Ask for ever, while it is wanted."""
        while True:
            await self._wanted.wait()
            self._turn()
            await next_second()
            if trio.current_time() > self._wanted_until_s:
                self._rest()

    def _rest(self) -> None:
        """Nobody watches: counters that are this old say nothing about the next watcher's seconds."""
        self._wanted = trio.Event()
        self._first.clear()
        self._asked.clear()
        self._links = self._links_before = (0.0, {})
        self._turns = 0

    def _turn(self) -> None:
        now_s = trio.current_time()
        self._turns += 1
        self._links_before, self._links = self._links, (now_s, read_link_counters())
        for gone in self._asked.keys() - self._fleet.keys():
            del self._asked[gone]
        for vm, asked, session in self._due(now_s):
            asked.asked_s = now_s
            assert vm.run.plan is not None
            questions = list(_questions(vm.run.plan, asked))
            if questions and session.post_together(questions):
                asked.owed += len(questions)

    def _due(self, now_s: float) -> list[tuple[VmState, _Asked, QmpSession]]:
        """Whose turn it is: the VMs looked at, then those that were not asked for the longest time."""
        self._first = {name: until_s for name, until_s in self._first.items() if until_s >= now_s}
        able = [
            (vm, asked, session)
            for vm in self._fleet.values()
            if (session := _session_of(vm)) is not None and not (asked := self._known(vm)).owed
        ]
        return sorted(able, key=lambda item: (item[0].name not in self._first, item[1].asked_s))[:ASKED_A_TURN]

    def _known(self, vm: VmState) -> _Asked:
        """What is known of the QEMU that runs now."""
        assert vm.run.process is not None
        asked = self._asked.get(vm.name)
        if asked is None or asked.pid != vm.run.process.pid:
            asked = self._asked[vm.name] = _Asked(vm.run.process.pid)
        return asked

    def rates_of(self, vm: VmState) -> QemuRates | None:
        """What the QEMU that runs now has told, or None."""
        asked, process = self._asked.get(vm.name), vm.run.process
        return asked.rates if asked is not None and process is not None and asked.pid == process.pid else None

    def nics_of(self, plan: VmPlan) -> tuple[NicRates, ...]:
        """The nics of a VM over the last second."""
        (before_s, before), (now_s, now) = self._links_before, self._links
        return tuple(_nic_rates(nic, before.get(nic.tap), now.get(nic.tap), now_s - before_s) for nic in plan.nics)


def _session_of(vm: VmState) -> QmpSession | None:
    """The telemetry connection of a VM that runs and answers."""
    link = vm.run.link
    if vm.run.process is None or vm.run.gone or vm.run.plan is None or link is None or link.silent_since_s is not None:
        return None
    return link.telemetry


def _questions(plan: VmPlan, asked: _Asked) -> Iterator[Question]:
    """What this QEMU is asked each time: what it has refused to tell once, no more."""
    if plan.disks and _BLOCKSTATS not in asked.refuses:
        yield _question(asked, _BLOCKSTATS, _take_disks)
    if plan.accel == "kvm" and QUERY_STATS not in asked.refuses:
        yield _question(asked, QUERY_STATS, _take_exits, _EXITS_ARGUMENTS)


def _question(
    asked: _Asked,
    command: str,
    take: Callable[[_Asked, Shape], None],
    arguments: Mapping[str, object] | None = None,
) -> Question:
    def settle(outcome: Outcome) -> None:
        asked.owed -= 1
        if isinstance(outcome, Refusal):
            asked.refuses.add(command)
        if isinstance(outcome, Answer):
            with suppress(QmpRefused):  # a reply of the wrong shape tells nothing
                take(asked, Shape(command, outcome.value))

    return Question(command, settle, arguments)


def _take_disks(asked: _Asked, reply: Shape) -> None:
    rows = [BlockCounters.of(row) for row in reply.rows()]
    now_s, now = trio.current_time(), {disk_id: row for row in rows if (disk_id := disk_id_of(row))}
    before_s, before = asked.disks or (now_s, {})
    asked.disks = now_s, now
    rates = tuple(_disk_rates(disk, before.get(disk), row, now_s - before_s) for disk, row in sorted(now.items()))
    asked.rates = evolve(_told_now(asked, now_s - before_s), disks=rates)


def _take_exits(asked: _Asked, reply: Shape) -> None:
    now_s, now = trio.current_time(), sums_of(reply)
    before_s, before = asked.exits or (now_s, {})
    asked.exits = now_s, now
    rates = {name: per_second(before.get(name), count, now_s - before_s) for name, count in now.items()}
    told = _told_now(asked, now_s - before_s)
    asked.rates = evolve(told, exits={name: rate for name, rate in rates.items() if rate is not None})


def _told_now(asked: _Asked, span_s: float) -> QemuRates:
    """What it told before, as of now; no span after a first answer."""
    known = asked.rates or QemuRates(0.0)
    return evolve(known, told_at_s=time.time(), span_s=span_s if span_s > 0 else None)


def _disk_rates(disk: str, before: BlockCounters | None, after: BlockCounters, span_s: float) -> DiskRates:
    if before is None:
        return DiskRates(disk)
    return DiskRates(
        disk,
        read_bytes=per_second(before.read_bytes, after.read_bytes, span_s),
        written_bytes=per_second(before.written_bytes, after.written_bytes, span_s),
        reads=per_second(before.read_operations, after.read_operations, span_s),
        writes=per_second(before.write_operations, after.write_operations, span_s),
        flushes=per_second(before.flush_operations, after.flush_operations, span_s),
        read_ms=each_ms((before.read_operations, before.read_time_ns), (after.read_operations, after.read_time_ns)),
        write_ms=each_ms((before.write_operations, before.write_time_ns), (after.write_operations, after.write_time_ns)),
        failed=per_second(before.failed_operations, after.failed_operations, span_s),
    )


def _nic_rates(nic: NicPlan, before: LinkCounters | None, after: LinkCounters | None, span_s: float) -> NicRates:
    if before is None or after is None:
        return NicRates(nic.nic_id, nic.bridge)
    # The tap receives what the guest sends.
    return NicRates(
        nic.nic_id,
        nic.bridge,
        sent_bytes=per_second(before.rx_bytes, after.rx_bytes, span_s),
        received_bytes=per_second(before.tx_bytes, after.tx_bytes, span_s),
        sent_packets=per_second(before.rx_packets, after.rx_packets, span_s),
        received_packets=per_second(before.tx_packets, after.tx_packets, span_s),
        dropped=per_second(before.rx_dropped + before.tx_dropped, after.rx_dropped + after.tx_dropped, span_s),
    )
