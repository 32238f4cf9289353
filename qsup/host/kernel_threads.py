"""Kernel threads that work for a VM without being threads of its QEMU: found by their names below kthreadd.

vhost workers are threads of QEMU since Linux 6.4; before, they are kernel threads called `vhost-PID`. `kvm-pit/PID` is one on
every kernel. `kvm-nx-lpage-recovery-PID` became a thread of QEMU in Linux 6.14; before 5.17 its name is cut to 15
characters and no longer tells the VM, so it is left out there.
"""

from __future__ import annotations

import re

from qsup.host.affinity import read_thread
from qsup.host.sysfs import list_dir, number_of, read_text
from qsup.truth.thread_facts import ThreadFacts

KTHREADD = 2
_HELPER = re.compile(r"(?:vhost-|kvm-pit/|kvm-nx-lpage-recovery-)([0-9]+)", re.ASCII)


def kernel_threads_of(pid: int) -> tuple[ThreadFacts, ...]:
    """The kernel threads whose name carries the id of this process or of one of its threads, ascending by id.

    The scan costs one read per kernel thread of the host (some hundred): ask after a start and rarely, not every cycle.

    Touches:
        /proc/2/task/2/children (or /proc/*/stat without it), /proc/TID/comm, and what `read_thread` touches.
    """
    owners = {number_of(name) for name in list_dir("/", f"/proc/{pid}/task")}
    found = []
    for tid in _kthreads():
        match = _HELPER.fullmatch((read_text("/", f"/proc/{tid}/comm") or "").strip())
        if match and int(match[1]) in owners:
            found.append(read_thread(tid, tid, kernel=True))
    return tuple(thread for thread in found if thread is not None)


def _kthreads() -> tuple[int, ...]:
    children = read_text("/", f"/proc/{KTHREADD}/task/{KTHREADD}/children")
    if children is not None:
        return tuple(sorted(tid for tid in map(number_of, children.split()) if tid is not None))
    pids = (pid for pid in map(number_of, list_dir("/", "/proc")) if pid is not None)
    return tuple(sorted(pid for pid in pids if _parent_of(pid) == KTHREADD))


def _parent_of(pid: int) -> int | None:
    text = read_text("/", f"/proc/{pid}/stat") or ""
    fields = text.rpartition(")")[2].split()
    return number_of(fields[1]) if len(fields) > 1 else None
