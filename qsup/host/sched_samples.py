"""One HostSample: the VMs' threads always, the rest of the host where somebody waits.

Reading a thousand threads takes some ten milliseconds: call it in a worker thread. One `SchedSamples` belongs to one caller.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from attrs import define, evolve, frozen

from qsup.errors import KernelRefused
from qsup.host.other_threads import LEAST_RUN_NS, OtherThreads
from qsup.host.quotas import Quotas
from qsup.host.switch_times import SwitchCounter, SwitchTimes
from qsup.host.sysfs import read_text
from qsup.host.thread_counters import RUNNABLE, ThreadCounters, process_clock_ns
from qsup.host.thread_moves import moves_where_due
from qsup.truth.wait import NOTICEABLE, waited_pcpus
from qsup.truth.wait_samples import Counters, HostSample, PcpuTimes, Thread, ThreadKey

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_TICK_NS = 1_000_000_000 // _TICKS_A_SECOND
_IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = 3, 4, 5, 6, 7
_PATIENCE = 12
_MOSTLY = 0.75
_TRUST, _TRUST_ON_IDLE = 3, 15
"""So many samples in a row a thread that slept and did nothing is taken to sleep on, and where its pCPU was mostly idle."""

_Row = tuple[Thread, Counters]


@frozen
class Target:
    """One thread to read; `fixed`: its mask holds a single pCPU."""

    pid: int
    tid: int
    thread: Thread
    fixed: bool


@define(eq=False)
class _Process:
    """The threads of one process, and what the last reading found of them.

    `clock_ns`: for how long they have run by now, `read_ns`: by that reading. `still`: none has run since. `slept`: none ran or
    waited then; `pcpus`: where they were.
    """

    pid: int
    targets: list[Target]
    clock_ns: int | None = None
    read_ns: int | None = None
    still: bool = False
    keys: tuple[ThreadKey, ...] = ()
    slept: bool = False
    pcpus: frozenset[int] = frozenset()

    def slept_on(self, turn: int, idle: frozenset[int]) -> bool:
        """Whether it may be taken to be as it was, unread. Not all processes are read in the same turn.

        On pCPUs that were idle nobody had to wait for long: there what hardly ran is read when it has run for a while.
        """
        on_idle = self.pcpus <= idle
        trust = _TRUST_ON_IDLE if on_idle else _TRUST
        return (self.still or (on_idle and self._hardly_ran())) and self.slept and (turn + self.pid) % (trust + 1) != 0

    def ask(self) -> None:
        """Whether any thread has run since the last reading. Order: before the next one."""
        self.clock_ns = process_clock_ns(self.pid)
        self.still = self.clock_ns is not None and self.clock_ns == self.read_ns

    def _hardly_ran(self) -> bool:
        return self.clock_ns is not None and self.read_ns is not None and 0 <= self.clock_ns - self.read_ns < LEAST_RUN_NS

    def note(self, rows: Mapping[ThreadKey, _Row]) -> None:
        """What was read."""
        self.read_ns = self.clock_ns
        self.keys = tuple(rows)
        self.slept = bool(rows) and all(counters.state != RUNNABLE for _, counters in rows.values())
        self.pcpus = frozenset(counters.pcpu for _, counters in rows.values())


class SchedSamples:
    """Takes samples.

    Touches: /proc/PID/task, /proc/stat, cgroupfs, and what `OtherThreads` touches; bpf(2) where it is to be exact.
    """

    def __init__(self, *, exact: bool = False) -> None:
        """`exact`: while watched, count every switch of threads; `refusal` tells where the kernel does not let it."""
        self._exact = exact
        self._switches: SwitchCounter | None = None
        self.refusal: KernelRefused | None = None
        self._counters = ThreadCounters()
        self._others = OtherThreads()
        self._quotas = Quotas()
        self._last: HostSample | None = None
        self._targets: Sequence[Target] = ()
        self._vms: dict[int, str] = {}
        self._tids: set[int] = set()
        self._processes: dict[int, _Process] = {}
        self._quiet = _PATIENCE
        self._turn = 0

    def take(self, targets: Sequence[Target], *, watched: bool) -> HostSample:
        """A sample of now. Counters of a thread that did nothing since the last one are the very same object.

        Args:
            targets: the same object as the last time where no thread came or went.
            watched: look at the rest of the host in any case; else only while a thread waits, and a while longer.
        """
        at_ns, at_ticks = time.monotonic_ns(), int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_A_SECOND)
        if targets is not self._targets:
            self._take_targets(targets)
        pcpus = read_pcpu_times()
        threads, changed = self._read(at_ns, pcpus)
        throttled = self._throttled_ns()
        sample = HostSample(at_ns, at_ticks, threads, None, pcpus, throttled, self._ran(watched), changed)
        waited = waited_pcpus(self._last, sample) if self._last is not None else frozenset()
        self._quiet = 0 if waited or watched else self._quiet + 1
        if self._quiet >= _PATIENCE:
            self._others.forget()
        else:
            sample = self._with_others(sample, waited)
        self._last = sample
        return sample

    def _take_targets(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._vms = {target.pid: target.thread.vm or "" for target in targets}
        self._tids = {target.tid for target in targets}
        by_pid: dict[int, list[Target]] = {}
        for target in targets:
            by_pid.setdefault(target.pid, []).append(target)
        self._processes = {pid: self._process_of(pid, mine) for pid, mine in by_pid.items()}
        self._counters.keep_only((target.pid, target.tid) for target in targets)
        self._quotas.keep_only(self._vms)

    def _process_of(self, pid: int, targets: list[Target]) -> _Process:
        """What is known of a process stays while its threads are the same: others come and go every second."""
        known = self._processes.get(pid)
        return known if known is not None and known.targets == targets else _Process(pid, targets)

    def _read(self, at_ns: int, pcpus: dict[int, PcpuTimes]) -> tuple[dict[ThreadKey, _Row], list[ThreadKey]]:
        """(all threads, those of them whose counters are not the very same as at the last sample)."""
        idle = _idle_since(self._last, at_ns, pcpus)
        self._turn += 1
        for process in self._processes.values():
            process.ask()
        last = self._last.threads if self._last is not None else {}
        threads: dict[ThreadKey, _Row] = {}
        changed: list[ThreadKey] = []
        for process in self._processes.values():
            if self._last is not None and process.slept_on(self._turn, idle):
                threads.update({key: last[key] for key in process.keys})
                continue
            rows = self._read_process(process, idle)
            threads.update(rows)
            changed += [key for key, row in rows.items() if key not in last or last[key][1] is not row[1]]
        return threads, changed

    def _read_process(self, process: _Process, idle: frozenset[int]) -> dict[ThreadKey, _Row]:
        """Read each thread. Of a process that slept, all are asked whether they wait by now: it was trusted as a whole."""
        read, still = self._counters.read, process.still
        trust = 0 if still else _TRUST
        rows: dict[ThreadKey, _Row] = {}
        for target in process.targets:
            found = read(target.pid, target.tid, fixed=target.fixed, idle=idle, trust=trust, still=still)
            if found is not None:
                rows[target.tid, found[0]] = (target.thread, found[1])
        process.note(rows)
        return rows

    def _ran(self, watched: bool) -> SwitchTimes | None:
        """Exactly who ran since the last sample; None where nobody counted from there on."""
        if self._switches is not None and watched:
            return self._switches.take()
        if self._switches is not None:
            self._switches.close()
            self._switches = None
        elif watched and self._exact and self.refusal is None:
            try:
                self._switches = SwitchCounter()
            except KernelRefused as refusal:
                self.refusal = refusal
        return None

    def _throttled_ns(self) -> dict[str, int]:
        """By VM. The kernel counts what a quota held when it lets go: nothing new is there of processes that did not run."""
        throttled: dict[str, int] = {}
        last = self._last.throttled_ns if self._last is not None else {}
        for pid, vm in self._vms.items():
            known = last.get(vm) if self._processes[pid].still else None
            throttled[vm] = max(throttled.get(vm, 0), self._quotas.throttled_ns(pid) if known is None else known)
        return throttled

    def close(self) -> None:
        """Close all descriptors."""
        self._counters.close()
        self._quotas.close()
        if self._switches is not None:
            self._switches.close()

    def _with_others(self, sample: HostSample, waited: frozenset[int]) -> HostSample:
        where = waited or frozenset[int]().union(*(process.pcpus for process in self._processes.values()))
        old = self._last.threads if self._last is not None else {}
        least_ns = NOTICEABLE * (sample.at_ns - self._last.at_ns) if self._last is not None else 0.0
        threads = dict(sample.threads)
        for key in sample.changed or ():
            counters = threads[key][1]
            asked = counters.pcpu in waited or (counters.pcpu in where and not counters.fixed)
            least_here_ns = 0.0 if counters.pcpu in waited else least_ns
            threads[key] = moves_where_due(key[0], threads[key], old.get(key), asked, least_here_ns)
            self._counters.remember(*key, threads[key][1])
        return evolve(sample, threads=threads, others=self._others.look(self._vms, self._tids.__contains__, where))


def _idle_since(last: HostSample | None, at_ns: int, pcpus: dict[int, PcpuTimes]) -> frozenset[int]:
    """The pCPUs that were idle for most of the time: no thread stood waiting there all the while."""
    if last is None:
        return frozenset()
    least_ns = _MOSTLY * (at_ns - last.at_ns)
    known = ((pcpu, times.idle_ns, last.pcpus.get(pcpu)) for pcpu, times in pcpus.items())
    return frozenset(pcpu for pcpu, idle_ns, then in known if then is not None and idle_ns - then.idle_ns > least_ns)


def read_pcpu_times(root: str = "/") -> dict[int, PcpuTimes]:
    """The times of each online pCPU since boot.

    Touches:
        /proc/stat.
    """
    found = {}
    for line in (read_text(root, "/proc/stat") or "").splitlines():
        name, *words = line.split()
        if not name.startswith("cpu"):
            break
        if name == "cpu" or len(words) <= _STEAL:
            continue
        ticks = [int(word) for word in words]
        found[int(name[3:])] = PcpuTimes(
            (ticks[_IDLE] + ticks[_IOWAIT]) * _TICK_NS,
            (ticks[_IRQ] + ticks[_SOFTIRQ]) * _TICK_NS,
            ticks[_STEAL] * _TICK_NS,
        )
    return found
