"""A process' threads with all that decides where they run, and those of its children."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.host.affinity import threads_of
from qsup.host.cgroup import cpuset_of
from qsup.host.sysfs import list_dir, number_of, read_text
from qsup.host.topology import online_pcpus
from qsup.truth.thread_facts import ThreadFacts
from qsup.truth.verified import SeenProcess

_CHILDREN_MOST = 64


def read_process(pid: int, kernel_threads: tuple[ThreadFacts, ...]) -> SeenProcess:
    """One look at a process: its threads, its children's threads, their cpusets. Blocks: call it in a worker thread.

    Args:
        kernel_threads: those that work for it, which are no threads of it.

    Touches:
        /proc/PID/task, /proc/TID/cgroup, cpuset files of cgroups.
    """
    threads = (*threads_of(pid), *kernel_threads)
    helpers = tuple(thread for child in children_of(pid) for thread in threads_of(child))
    return SeenProcess(threads, helpers, _cpusets_of((*threads, *helpers)), online_pcpus())


def children_of(pid: int) -> tuple[int, ...]:
    """The processes below this one, parents first, some 64 at most; none where the kernel does not tell (PROC_CHILDREN)."""
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < _CHILDREN_MOST:
        parent = waiting.pop(0)
        for task in list_dir("/", f"/proc/{parent}/task"):
            words = (read_text("/", f"/proc/{parent}/task/{task}/children") or "").split()
            young = [child for child in map(number_of, words) if child is not None and child not in found]
            found += young
            waiting += young
    return tuple(found)


def _cpusets_of(threads: Iterable[ThreadFacts]) -> dict[int, frozenset[int] | None]:
    """The cpuset of each thread; cgroups that several share are read once."""
    by_cgroup: dict[str, frozenset[int] | None] = {}
    found: dict[int, frozenset[int] | None] = {}
    for thread in threads:
        cgroup = read_text("/", f"/proc/{thread.tid}/cgroup") or ""
        if cgroup not in by_cgroup:
            by_cgroup[cgroup] = cpuset_of(thread.tid)
        found[thread.tid] = by_cgroup[cgroup]
    return found
