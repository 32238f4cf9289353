"""Samples by hand: a host of a few threads, whose counters are told for two moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from qsup.truth.wait import ThreadWait, WaitInterval, wait_interval
from qsup.truth.wait_samples import Counters, HostSample, PcpuTimes, Thread, ThreadKey
from qsup.truth.wait_spent import Credits

SECOND_NS = 1_000_000_000
TICKS = 100
BEGIN_TICKS = 5000
MS = 1_000_000


@frozen
class Act:
    """What one thread does in one second, in ms. `vm` None: it is no VM's. `born`: it begins within the second.

    `unread`: how often it moves was not read at the first moment.
    """

    name: str
    run_ms: float = 0
    wait_ms: float = 0
    vm: str | None = None
    pcpu: int = 1
    from_pcpu: int | None = None
    fixed: bool = True
    moves: int | None = 0
    born: bool = False
    unread: bool = False
    states: tuple[str, str] = ("S", "S")
    slices: int | None = None
    thread_class: str = "vcpu"


@frozen
class Host:
    """Two samples of the acts, a second apart. `idle_ms` by pCPU; those that are not named were never idle."""

    acts: tuple[Act, ...]
    idle_ms: Mapping[int, float] = field(factory=dict)
    irq_ms: float = 0
    steal_ms: float = 0
    throttled_ms: float = 0
    looked: bool = True

    def samples(self) -> tuple[HostSample, HostSample]:
        return self._sample(0), self._sample(1)

    def _sample(self, moment: int) -> HostSample:
        rows = {self._key(index, act): (index, act) for index, act in enumerate(self.acts) if moment or not act.born}
        made = {key: (_thread(act), _counters(index, act, moment)) for key, (index, act) in rows.items()}
        vms = {key: row for key, row in made.items() if row[0].vm is not None}
        others = {key: row for key, row in made.items() if row[0].vm is None}
        idle = {pcpu: int((self.idle_ms.get(pcpu, 0) * moment + 7) * MS) for pcpu in (0, 1, 2)}
        pcpus = {
            pcpu: PcpuTimes(idle[pcpu], int((3 + self.irq_ms * moment) * MS), int((2 + self.steal_ms * moment) * MS))
            for pcpu in idle
        }
        throttled = {act.vm: int((5 + self.throttled_ms * moment) * MS) for act in self.acts if act.vm is not None}
        return HostSample(
            at_ns=(10 + moment) * SECOND_NS,
            at_ticks=BEGIN_TICKS + moment * TICKS,
            threads=vms,
            others=others if self.looked else None,
            pcpus=pcpus,
            throttled_ns=throttled,
        )

    @staticmethod
    def _key(index: int, act: Act) -> ThreadKey:
        return 100 + index, BEGIN_TICKS + 1 if act.born else 50

    def interval(self, credits: Credits | None = None) -> tuple[WaitInterval, Credits]:
        before, after = self.samples()
        found = wait_interval(before, after, credits or {})
        assert found is not None
        return found


def _thread(act: Act) -> Thread:
    if act.vm is None:
        return Thread(act.name)
    return Thread(f"{act.vm} {act.name}", act.vm, act.thread_class, act.name)


def _counters(index: int, act: Act, moment: int) -> Counters:
    base = 0 if act.born else 1000 * (index + 1) * MS
    slices = act.slices if act.slices is not None else int(act.run_ms + act.wait_ms > 0)
    start = act.from_pcpu if act.from_pcpu is not None else act.pcpu
    return Counters(
        pcpu=act.pcpu if moment else start,
        state=act.states[moment],
        run_ns=base + int(act.run_ms * moment * MS),
        delay_ns=base + int(act.wait_ms * moment * MS),
        timeslices=base // MS + slices * moment,
        fixed=act.fixed,
        migrations=None if act.moves is None or (act.unread and not moment) else (0 if act.born else 4) + act.moves * moment,
        involuntary=40 * moment + 2,
    )


def thread_of(interval: WaitInterval, role: str) -> ThreadWait:
    """The one thread with this role."""
    (thread,) = [thread for vm in interval.vms for thread in vm.threads if thread.role == role]
    return thread


def named(thread: ThreadWait) -> dict[str, float]:
    """Who is blamed, in ms of this second."""
    return {item.who: round(item.share * 1000, 3) for item in thread.blame}


def shares_of(thread: ThreadWait) -> Iterable[float]:
    """All shares of it."""
    yield from (thread.run_share, thread.ready_share, thread.throttled_share, thread.unknown_share)
    yield from (item.share for item in thread.blame)
