"""One HostSample: the VMs' threads always, the rest of the host where somebody waits.

Reading a thousand threads takes some ten milliseconds: call it in a worker thread. One `SchedSamples` belongs to one caller.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from attrs import frozen

from qsup.host.other_threads import OtherThreads, with_moves
from qsup.host.quotas import Quotas
from qsup.host.sysfs import read_text
from qsup.host.thread_counters import ThreadCounters
from qsup.truth.wait import waited_pcpus
from qsup.truth.wait_samples import Counters, HostSample, PcpuTimes, Thread, ThreadKey

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_TICK_NS = 1_000_000_000 // _TICKS_A_SECOND
_IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = 3, 4, 5, 6, 7
_PATIENCE = 12


@frozen
class Target:
    """One thread to read; `fixed`: its mask holds a single pCPU."""

    pid: int
    tid: int
    thread: Thread
    fixed: bool


class SchedSamples:
    """Takes samples.

    Touches: /proc/PID/task, /proc/stat, cgroupfs, and what `OtherThreads` touches.
    """

    def __init__(self) -> None:
        self._counters = ThreadCounters()
        self._others = OtherThreads()
        self._quotas = Quotas()
        self._last: HostSample | None = None
        self._quiet = _PATIENCE

    def take(self, targets: Sequence[Target], *, watched: bool) -> HostSample:
        """A sample of now.

        Args:
            watched: look at the rest of the host in any case; else only while a thread waits, and a while longer.
        """
        at_ns, at_ticks = time.monotonic_ns(), int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_A_SECOND)
        threads: dict[ThreadKey, tuple[Thread, Counters]] = {}
        for target in targets:
            found = self._counters.read(target.pid, target.tid, fixed=target.fixed)
            if found is not None:
                threads[target.tid, found[0]] = (target.thread, found[1])
        vms = {target.pid: target.thread.vm or "" for target in targets}
        throttled: dict[str, int] = {}
        for pid, vm in vms.items():
            throttled[vm] = max(throttled.get(vm, 0), self._quotas.throttled_ns(pid))
        sample = HostSample(at_ns, at_ticks, threads, None, read_pcpu_times(), throttled)
        self._counters.keep_only((target.pid, target.tid) for target in targets)
        self._quotas.keep_only(vms)
        sample = self._with_others(sample, vms, watched)
        self._last = sample
        return sample

    def close(self) -> None:
        """Close all descriptors."""
        self._counters.close()
        self._quotas.close()

    def _with_others(self, sample: HostSample, vms: dict[int, str], watched: bool) -> HostSample:
        pcpus = waited_pcpus(self._last, sample) if self._last is not None else frozenset()
        self._quiet = 0 if pcpus or watched else self._quiet + 1
        if self._quiet >= _PATIENCE:
            self._others.forget()
            return sample
        where = pcpus or frozenset(counters.pcpu for _, counters in sample.threads.values())
        old = self._last.threads if self._last is not None else {}
        threads = {key: _with_moves(key, row, old.get(key), where, pcpus) for key, row in sample.threads.items()}
        tids = {key[0] for key in threads}
        others = self._others.look(vms, tids.__contains__, where)
        return HostSample(sample.at_ns, sample.at_ticks, threads, others, sample.pcpus, sample.throttled_ns)


_Row = tuple[Thread, Counters]


def _with_moves(key: ThreadKey, row: _Row, old: _Row | None, where: frozenset[int], waited: frozenset[int]) -> _Row:
    """The row with its moves: those of a thread that did not run since stay as they were, without asking."""
    thread, now = row
    if old is not None and old[1].timeslices == now.timeslices and old[1].run_ns == now.run_ns:
        known = old[1].migrations
        return row if known is None else (thread, now._replace(migrations=known, involuntary=old[1].involuntary))
    if now.pcpu in waited or (now.pcpu in where and not now.fixed):
        return thread, with_moves(key[0], now)
    return row


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
