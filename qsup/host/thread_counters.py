"""The scheduler's counters of single threads, by descriptors that are kept open.

Strategy: a descriptor of /proc/PID/task/TID belongs to that very thread: once it is gone, reading says ESRCH, also when the
id is used again. So a kept descriptor needs no check of identity, and reading costs a fifth of open, read and close. A thread
whose schedstat is the same as before has not run and not ended a wait: its stat, which costs four times as much and would tell
only whether it has begun to wait, is not read each time, and never where its pCPU had nothing to do; the very same counters are
returned then. What cannot be read is None. Source: man 5 proc_pid_stat,
Documentation/scheduler/sched-stats.rst, kernel/sched/debug.c
(proc_sched_show_task; the file `sched` is there with CONFIG_SCHED_DEBUG, on every kernel since 6.15).
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Container, Iterable

from attrs import define, frozen

from qsup.truth.wait_samples import Counters

_READ_BYTES = 4096
_STATE, _THREADS, _START, _PROCESSOR = 0, 17, 19, 36
_FDS_EACH = 2
RUNNABLE = "R"
_READ_FIELDS = Counters._fields.index("migrations")
_TIMES = 3
_CPUCLOCK_SCHED = 2
_MIGRATIONS, _INVOLUNTARY = b"se.nr_migrations", b"nr_involuntary_switches"


@frozen
class Stat:
    """What is used of one /proc/…/stat: `start` is in ticks since boot, `threads` how many the process has."""

    comm: str
    state: str
    threads: int
    start: int
    pcpu: int


def read_small(path: str) -> bytes | None:
    """A file of the kernel that one read returns whole, or None where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, _READ_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)


def process_clock_ns(pid: int) -> int | None:
    """The processor time of a process with all threads that it ever had; None where it is gone.

    One call tells whether any of its threads has run since the last one, by the same count that schedstat tells of each.

    Source: man 2 clock_getres; include/linux/posix-timers_types.h, CPUCLOCK_SCHED.
    """
    try:
        return time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return None


def stat_of(text: bytes | None) -> Stat | None:
    """The parsed line; None where there is none. The name may hold spaces and brackets, so it ends at the last one."""
    head, _, tail = (text or b"").rpartition(b")")
    words = tail.split()
    if len(words) <= _PROCESSOR:
        return None
    comm = head.partition(b"(")[2].decode("utf-8", "replace")
    return Stat(comm, words[_STATE].decode(), int(words[_THREADS]), int(words[_START]), int(words[_PROCESSOR]))


def schedstat_of(text: bytes | None) -> tuple[int, int, int] | None:
    """(run time in ns, run-queue delay in ns, timeslices)."""
    words = (text or b"").split()
    return (int(words[0]), int(words[1]), int(words[2])) if len(words) == 3 else None


def moves_of(tid: int) -> tuple[int | None, int | None]:
    """(migrations, involuntary switches) of a thread; None where the kernel does not tell.

    Touches:
        /proc/TID/sched.
    """
    text = read_small(f"/proc/{tid}/sched") or b""
    return _row_of(text, _MIGRATIONS), _row_of(text, _INVOLUNTARY)


def _row_of(text: bytes, name: bytes) -> int | None:
    begin = text.find(name)
    if begin < 0:
        return None
    value = text[begin:].partition(b"\n")[0].rpartition(b":")[2].strip()
    return int(value) if value.isdigit() else None


@define(eq=False)
class _Kept:
    """The descriptors of one thread, and what they said last."""

    schedstat_fd: int
    stat_fd: int
    times: bytes = b""
    found: tuple[int, Counters] | None = None
    trusted: int = 0


class ThreadCounters:
    """Reads threads again and again. Where descriptors run short, the rest is opened at each reading.

    Touches: /proc/PID/task/TID/{schedstat,stat}.
    """

    def __init__(self, most_fds: int | None = None) -> None:
        self._most_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 if most_fds is None else most_fds
        self._kept: dict[int, _Kept] = {}

    def read(
        self,
        pid: int,
        tid: int,
        *,
        fixed: bool = False,
        idle: Container[int] = frozenset(),
        trust: int = 0,
        still: bool = False,
    ) -> tuple[int, Counters] | None:
        """(start time in ticks, counters) of one thread, or None where it is gone. The same object where nothing is new.

        Args:
            fixed: its mask holds a single pCPU, as somebody knows already.
            idle: the pCPUs that were idle for so long since the last reading that nobody can have waited there ever since.
            trust: so many times in a row a thread that slept and did nothing is taken to sleep on.
            still: no thread of its process has run since the last reading: its times are what they were, unread.
        """
        kept = self._kept.get(tid) or self._open(pid, tid)
        if kept is None:
            directory = f"/proc/{pid}/task/{tid}/"
            return _together(read_small(directory + "schedstat"), read_small(directory + "stat"), fixed)
        try:
            last = kept.found
            times = kept.times if still and last is not None else os.pread(kept.schedstat_fd, _READ_BYTES, 0)
            if times == kept.times and last is not None and last[1].state != RUNNABLE and last[1].fixed == fixed:
                kept.trusted += 1
                if kept.trusted <= trust or last[1].pcpu in idle:
                    return last
            # Not all of those that sleep are asked at the same time.
            kept.trusted = tid % (trust + 1) if last is None else 0
            fresh = _together(times, os.pread(kept.stat_fd, _READ_BYTES, 0), fixed)
        except OSError:
            self._close(tid)
            return None
        if last is None or fresh is None or fresh[0] != last[0] or _says_new(fresh[1], last[1]):
            kept.times, kept.found = times, fresh
        return kept.found

    def remember(self, tid: int, start: int, counters: Counters) -> None:
        """These counters, in which more was filled in, are what is returned as long as nothing is new."""
        kept = self._kept.get(tid)
        if kept is not None and kept.found is not None and kept.found[0] == start:
            kept.found = start, counters

    def keep_only(self, threads: Iterable[tuple[int, int]]) -> None:
        """Close what belongs to other threads than these (pid, tid)."""
        for gone in self._kept.keys() - {tid for _, tid in threads}:
            self._close(gone)

    def close(self) -> None:
        """Close everything."""
        self.keep_only(())

    @property
    def open_fds(self) -> int:
        """How many descriptors are kept."""
        return len(self._kept) * _FDS_EACH

    def _open(self, pid: int, tid: int) -> _Kept | None:
        if self.open_fds + _FDS_EACH > self._most_fds:
            return None
        directory = f"/proc/{pid}/task/{tid}/"
        try:
            first = os.open(directory + "schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            second = os.open(directory + "stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(first)
            return None
        kept = self._kept[tid] = _Kept(first, second)
        return kept

    def _close(self, tid: int) -> None:
        kept = self._kept.pop(tid, None)
        for fd in (kept.schedstat_fd, kept.stat_fd) if kept is not None else ():
            with contextlib.suppress(OSError):
                os.close(fd)


def _says_new(fresh: Counters, last: Counters) -> bool:
    """A thread that stands runnable is new at each reading: whoever compares must see that it still does."""
    return fresh[:_READ_FIELDS] != last[:_READ_FIELDS] or fresh.state == RUNNABLE


def _together(schedstat: bytes | None, stat: bytes | None, fixed: bool) -> tuple[int, Counters] | None:
    times, line = (schedstat or b"").split(), (stat or b"").rpartition(b")")[2].split(None, _PROCESSOR + 1)
    if len(times) != _TIMES or len(line) <= _PROCESSOR:
        return None
    state = line[_STATE].decode()
    return int(line[_START]), Counters(int(line[_PROCESSOR]), state, int(times[0]), int(times[1]), int(times[2]), fixed)
