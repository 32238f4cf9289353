"""The task that samples who waits: every 5 s, and every second while somebody watches. It keeps the last hour.

Sampling and comparing run in a worker thread, one turn at a time; what they leave is published on the loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import trio
from attrs import define, field, frozen

from qsup.errors import KernelRefused
from qsup.host.sched_samples import SchedSamples, Target
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_targets import Targets
from qsup.truth.wait import WaitInterval, wait_interval
from qsup.truth.wait_history import WaitHistory, WaitMinute
from qsup.truth.wait_samples import HostSample
from qsup.truth.wait_spent import Credits

INTERVAL_S = 5.0
WATCHED_INTERVAL_S = 1.0
LEAST_SPAN_S = 0.5
FOLLOWER_BACKLOG = 60


Aside = Callable[[Callable[[], WaitInterval | None]], Awaitable[WaitInterval | None]]


async def in_a_thread(work: Callable[[], WaitInterval | None]) -> WaitInterval | None:
    """Run it in a worker thread."""
    return await trio.to_thread.run_sync(work)


@frozen
class WaitReport:
    """One turn: it ended at `at_s` (Unix time)."""

    at_s: float
    interval: WaitInterval


@define(eq=False)
class ClassTotal:
    """What the threads of one class of a VM ran and waited since the daemon began; only grows."""

    run_s: float = 0.0
    wait_s: float = 0.0
    threads: int = 0


@define(eq=False)
class _Watched:
    """What is kept of one VM."""

    history: WaitHistory = field(factory=WaitHistory)
    totals: dict[str, ClassTotal] = field(factory=dict)
    throttled_s: float = 0.0
    skew_share: float = 0.0


class WaitWatch:
    """Samples all VMs of the fleet."""

    def __init__(
        self,
        fleet: Mapping[str, VmState],
        samples: SchedSamples | None = None,
        aside: Aside = in_a_thread,
        refused: Callable[[KernelRefused], None] = lambda refusal: None,
    ) -> None:
        """Watch the VMs that the fleet holds at each turn.

        Args:
            aside: runs what takes long.
            refused: is told, once, where the kernel does not let samples be exact that are to be.
        """
        self._refused: Callable[[KernelRefused], None] | None = refused
        self._fleet = fleet
        self._targets = Targets(fleet)
        self._aside = aside
        self._samples = samples if samples is not None else SchedSamples()
        self._watched: dict[str, _Watched] = {}
        self._followers: set[trio.MemorySendChannel[WaitReport]] = set()
        self._wake = trio.Event()
        self._last: HostSample | None = None
        self._credits: Credits = {}
        self.latest: WaitReport | None = None

    async def run(self) -> None:
        """Sample for ever."""
        try:
            while True:
                await self._turn()
                await self._pause()
        finally:
            self._samples.close()

    async def _pause(self) -> None:
        """Until the next turn, on a whole second; a new follower does not wait for the end of a long one."""
        begun_s = trio.current_time()
        interval_s = WATCHED_INTERVAL_S if self._followers else INTERVAL_S
        self._wake = trio.Event()
        with trio.move_on_at(max(math.floor(begun_s + interval_s), begun_s + LEAST_SPAN_S)):
            await self._wake.wait()
            await trio.sleep_until(begun_s + LEAST_SPAN_S)

    async def _turn(self) -> None:
        targets = self._targets.current()
        watched = bool(self._followers)
        interval = await self._aside(lambda: self._compare(targets, watched))
        for gone in self._watched.keys() - self._fleet.keys():
            del self._watched[gone]
        if self._samples.refusal is not None and self._refused is not None:
            self._refused(self._samples.refusal)
            self._refused = None
        if interval is not None:
            self._publish(WaitReport(time.time(), interval))

    def _compare(self, targets: Sequence[Target], watched: bool) -> WaitInterval | None:
        """In a worker thread: nobody else touches the samples and what was told ahead."""
        sample = self._samples.take(targets, watched=watched)
        last, self._last = self._last, sample
        found = wait_interval(last, sample, self._credits) if last is not None else None
        if found is None:
            return None
        interval, self._credits = found
        return interval

    def _publish(self, report: WaitReport) -> None:
        self.latest = report
        for wait in report.interval.vms:
            kept = self._watched.setdefault(wait.vm, _Watched())
            kept.history.add(report.at_s, report.interval.span_s, wait)
            kept.throttled_s += wait.throttled_share * report.interval.span_s
            kept.skew_share = wait.skew_share
            for total in kept.totals.values():
                total.threads = 0
            for name, spent in wait.classes.items():
                total = kept.totals.setdefault(name, ClassTotal())
                total.run_s += spent.run_ns / 1e9
                total.wait_s += spent.wait_ns / 1e9
                total.threads = spent.threads
        for follower in list(self._followers):
            try:
                follower.send_nowait(report)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._followers.discard(follower)
                follower.close()

    def history(self, vm: str) -> tuple[WaitMinute, ...]:
        """The last hour of one VM, oldest minute first."""
        kept = self._watched.get(vm)
        return kept.history.minutes() if kept is not None else ()

    def totals(self, vm: str) -> Mapping[str, ClassTotal]:
        """What each class of threads ran and waited in all."""
        kept = self._watched.get(vm)
        return kept.totals if kept is not None else {}

    def throttled_s(self, vm: str) -> float:
        """How long the VM's threads were held by a quota, in all."""
        kept = self._watched.get(vm)
        return kept.throttled_s if kept is not None else 0.0

    def skew_share(self, vm: str) -> float:
        """How unevenly its vCPUs waited in the last span."""
        kept = self._watched.get(vm)
        return kept.skew_share if kept is not None else 0.0

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[trio.MemoryReceiveChannel[WaitReport]]:
        """Every report from now on; sampling goes once a second as long as anybody follows. One who lags is cut off."""
        send, receive = trio.open_memory_channel[WaitReport](FOLLOWER_BACKLOG)
        self._followers.add(send)
        self._wake.set()
        try:
            async with receive:
                yield receive
        finally:
            self._followers.discard(send)
            send.close()
