"""Pins and real-time priorities of single threads, and all threads of a process as the kernel tells them.

Strategy: threads come and go while they are read. A thread that vanishes is left out of a list; only a call about one named
thread says that it is gone. Source: man 2 sched_setaffinity, man 5 proc_pid_stat, Documentation/scheduler/sched-stats.rst.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from qsup.cpuset import format_cpulist
from qsup.errors import KernelRefused
from qsup.host.sysfs import list_dir, number_of, read_text
from qsup.truth.thread_facts import ThreadFacts

_STATE, _PROCESSOR, _RT_PRIORITY, _POLICY = 0, 36, 37, 38  # fields after the name; man 5 proc_pid_stat counts them from 3


def set_affinity(tid: int, pcpus: Iterable[int]) -> frozenset[int]:
    """Sets the affinity of one thread and reads it back.

    Returns:
        the mask in force, never empty: the kernel silently drops pCPUs that are offline or outside the thread's cpuset.

    Raises:
        KernelRefused: host.thread-gone, host.mask-refused.

    Touches:
        sched_setaffinity, sched_getaffinity.
    """
    mask = frozenset(pcpus)
    try:
        os.sched_setaffinity(tid, mask)
    except (OSError, ValueError, OverflowError) as error:
        raise _refused(tid, mask, error) from None
    return read_affinity(tid)


def read_affinity(tid: int) -> frozenset[int]:
    """The affinity of one thread, never empty.

    Raises:
        KernelRefused: host.thread-gone.

    Touches:
        sched_getaffinity.
    """
    try:
        return frozenset(os.sched_getaffinity(tid))
    except OSError as error:
        raise _refused(tid, frozenset(), error) from None


def set_realtime(tid: int, priority: int) -> None:
    """Puts one thread under SCHED_FIFO.

    Raises:
        KernelRefused: host.thread-gone, host.realtime-refused.

    Touches:
        sched_setscheduler.
    """
    try:
        os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        number = error.errno or errno.EIO
        if number == errno.ESRCH:
            raise _refused(tid, frozenset(), error) from None
        text = f"the kernel refused thread {tid} the real-time priority {priority}: {os.strerror(number)}"
        hint = "run the daemon with CAP_SYS_NICE and without RestrictRealtime=, or leave cpu.realtime_priority out"
        raise KernelRefused("host.realtime-refused", "sched_setscheduler", number, text, hint) from None


def _refused(tid: int, mask: frozenset[int], error: Exception) -> KernelRefused:
    number = (error.errno or errno.EIO) if isinstance(error, OSError) else errno.EINVAL
    if number == errno.ESRCH:
        return KernelRefused("host.thread-gone", "sched_setaffinity", number, f"thread {tid} does not exist any more")
    wanted = format_cpulist(pcpu for pcpu in mask if pcpu >= 0)
    text = f"the kernel refused to put thread {tid} on pCPUs {wanted or '(none)'}: {os.strerror(number)}"
    hint = "check that one of these pCPUs is online and in the thread's cpuset (cpuset.cpus.effective)"
    return KernelRefused("host.mask-refused", "sched_setaffinity", number, text, hint)


def threads_of(pid: int) -> tuple[ThreadFacts, ...]:
    """All threads of a process, ascending by id; none where the process is gone.

    Touches:
        /proc/PID/task/*/{stat,schedstat}, sched_getaffinity.
    """
    tids = sorted(tid for tid in map(number_of, list_dir("/", f"/proc/{pid}/task")) if tid is not None)
    found = (read_thread(pid, tid) for tid in tids)
    return tuple(thread for thread in found if thread is not None)


def read_thread(pid: int, tid: int, *, kernel: bool = False) -> ThreadFacts | None:
    """One thread of a process, or None where it is gone."""
    directory = f"/proc/{pid}/task/{tid}"
    stat = _stat_of(read_text("/", f"{directory}/stat"))
    if stat is None:
        return None
    name, fields = stat
    try:
        affinity = frozenset(os.sched_getaffinity(tid))
    except OSError:
        return None
    run_time_ns, run_delay_ns, timeslices = _schedstat_of(read_text("/", f"{directory}/schedstat"))
    return ThreadFacts(
        tid=tid,
        name=name,
        affinity=affinity,
        last_pcpu=number_of(fields[_PROCESSOR]) or 0,
        state=fields[_STATE],
        policy=number_of(fields[_POLICY]) or 0,
        rt_priority=number_of(fields[_RT_PRIORITY]) or 0,
        run_time_ns=run_time_ns,
        run_delay_ns=run_delay_ns,
        timeslices=timeslices,
        kernel=kernel,
    )


def _stat_of(text: str | None) -> tuple[str, list[str]] | None:
    """(name, fields after it). The name may hold spaces and brackets ("CPU 0/KVM"), so it ends at the last one."""
    if not text or "(" not in text or ")" not in text:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return (head.partition("(")[2], fields) if len(fields) > _POLICY else None


def _schedstat_of(text: str | None) -> tuple[int | None, int | None, int | None]:
    words = (text or "").split()
    if len(words) != 3:
        return None, None, None
    return number_of(words[0]), number_of(words[1]), number_of(words[2])
