"""The threads of the host that are no VM's: who of them ran, where, for how long.

Strategy: one question a process tells for how long it has run since its threads were read; they are read again where that is
worth a word. The first look reads all of them, since later ones need something to compare with. Processes that come and go
between two looks are not seen: whoever holds the run times against the pCPU's own finds them missing there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from attrs import define, field

from qsup.host.thread_counters import Stat, process_clock_ns, read_small, schedstat_of, stat_of
from qsup.host.thread_moves import with_moves
from qsup.truth.wait_names import name_of_kernel_thread, name_of_process
from qsup.truth.wait_samples import Counters, Thread, ThreadKey, Threads

_KTHREADD = 2
_PARENT = 1
LEAST_RUN_NS = 1_000_000
"""A process that ran for less since its threads were read made nobody wait: its threads stand there as they were."""


@define(eq=False)
class _Process:
    start: int
    comm: str
    clock_ns: int
    thread: Thread
    threads: dict[ThreadKey, tuple[Thread, Counters]] = field(factory=dict)


class OtherThreads:
    """Looks again and again.

    Touches: /proc/PID/{stat,cgroup}, /proc/PID/task/TID/{schedstat,stat,sched}, sched_getaffinity.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Process] = {}

    def look(self, vms_by_pid: Mapping[int, str], ours: Callable[[int], bool], pcpus: frozenset[int]) -> Threads:
        """All other threads with their newest counters.

        Args:
            vms_by_pid: the VMs by the process id of their QEMU.
            ours: whether a thread id is among the VM threads that are read elsewhere.
            pcpus: where it matters whether a thread stayed; elsewhere nobody asks the kernel for it.
        """
        found: dict[int, _Process] = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            pid = int(name)
            if ours(pid):
                continue  # a VM's QEMU or kernel thread: read as a target; what of it is new will be, a second later
            process = self._process(pid, vms_by_pid, pcpus)
            if process is not None:
                found[pid] = process
        self._known = found
        return {key: row for process in found.values() for key, row in process.threads.items() if not ours(key[0])}

    def forget(self) -> None:
        """The next look is a first one."""
        self._known = {}

    def _process(self, pid: int, vms_by_pid: Mapping[int, str], pcpus: frozenset[int]) -> _Process | None:
        """What is known of a process, its threads read anew where it has run; None where it is gone."""
        clock_ns, known = process_clock_ns(pid), self._known.get(pid)
        if known is not None and clock_ns is not None and 0 <= clock_ns - known.clock_ns < LEAST_RUN_NS:
            return known
        text = read_small(f"/proc/{pid}/stat")
        stat = stat_of(text)
        if stat is None or text is None or clock_ns is None:
            return None
        if known is None or known.start != stat.start:
            known = _Process(stat.start, stat.comm, clock_ns, _thread_of(pid, stat, text, vms_by_pid))
        elif known.comm != stat.comm:  # it became another program, or a worker another's
            known.comm, known.thread = stat.comm, _thread_of(pid, stat, text, vms_by_pid)
        known.clock_ns = clock_ns
        known.threads = _threads_of(pid, stat, known, pcpus)
        return known


def _threads_of(pid: int, stat: Stat, known: _Process, pcpus: frozenset[int]) -> dict[ThreadKey, tuple[Thread, Counters]]:
    if stat.threads == 1:
        tids = [pid]
    else:
        try:
            tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        except OSError:
            return {}
    by_tid = {key[0]: (key, row[1]) for key, row in known.threads.items()}
    threads = {}
    for tid in tids:
        fresh = _thread_now(pid, tid, by_tid.get(tid), pcpus)
        if fresh is not None:
            threads[fresh[0]] = (known.thread, fresh[1])
    return threads


def _thread_now(
    pid: int, tid: int, known: tuple[ThreadKey, Counters] | None, pcpus: frozenset[int]
) -> tuple[ThreadKey, Counters] | None:
    times = schedstat_of(read_small(f"/proc/{pid}/task/{tid}/schedstat"))
    if times is None:
        return None
    if known is not None and known[1].run_ns == times[0] and known[1].timeslices == times[2]:
        return known
    stat = stat_of(read_small(f"/proc/{pid}/task/{tid}/stat"))
    if stat is None:
        return None
    counters = Counters(stat.pcpu, stat.state, *times, fixed=_is_fixed(tid))
    if stat.pcpu in pcpus or (known is not None and known[1].migrations is not None):
        counters = with_moves(tid, counters)
    return (tid, stat.start), counters


def _is_fixed(tid: int) -> bool:
    try:
        return len(os.sched_getaffinity(tid)) == 1
    except OSError:
        return False


def _thread_of(pid: int, stat: Stat, text: bytes, vms_by_pid: Mapping[int, str]) -> Thread:
    if pid == os.getpid():
        return Thread("qsup's daemon")
    if pid in vms_by_pid:
        return Thread(f"{vms_by_pid[pid]} emulator")
    parent = int(text.rpartition(b")")[2].split()[_PARENT])
    if parent == _KTHREADD or pid == _KTHREADD:
        return Thread(name_of_kernel_thread(stat.comm, vms_by_pid))
    cgroup = read_small(f"/proc/{pid}/cgroup") or b""
    return Thread(name_of_process(stat.comm, pid, cgroup.decode("utf-8", "replace")))
