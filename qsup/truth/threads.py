"""Whose thread is where: the planned pin of every thread against the affinity that the kernel tells.

Strategy: a thread's class follows from its id where QMP told it (vCPUs, iothreads) and from its name otherwise
(vhost workers); every other thread of the process belongs to the emulator's pin. A thread that is planned and not seen
yet is a row of its own, so that "all rows are ok" means that all that was planned is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from qsup.plan.vmplan import VmPlan

ThreadClass = Literal["vcpu", "iothread", "vhost", "emulator"]
Verdict = Literal["ok", "drift", "missing", "not placeable"]


@frozen
class SeenThread:
    """One thread as the kernel tells it: `affinity` is the mask in force, `name` its comm."""

    tid: int
    name: str
    affinity: frozenset[int]


@frozen
class ThreadIds:
    """Thread ids as told: vCPUs by vcpu_index, iothreads by object id, vhost workers that are kernel threads."""

    vcpus: Mapping[int, int] = field(factory=dict)
    iothreads: Mapping[str, int] = field(factory=dict)
    vhost_kthreads: frozenset[int] = frozenset()


@frozen
class ThreadRow:
    """One thread, planned against seen. `tid` is None where the thread is missing."""

    thread_class: ThreadClass
    label: str
    tid: int | None
    name: str
    pin: frozenset[int]
    affinity: frozenset[int]
    verdict: Verdict


def thread_rows(plan: VmPlan, ids: ThreadIds, seen: Iterable[SeenThread], online: frozenset[int]) -> tuple[ThreadRow, ...]:
    """All threads of a VM, vCPUs first, then iothreads, vhost workers, emulator threads by id.

    Args:
        online: the pCPUs that are online; the kernel drops the others from a mask, which is no drift.

    Returns:
        tuple of rows; planned vCPUs and iothreads that were not seen stand in it with verdict "missing".
    """
    by_tid = {thread.tid: thread for thread in seen}
    rows = [
        _row("vcpu", f"vcpu {vcpu.vcpu_index}", ids.vcpus.get(vcpu.vcpu_index), by_tid, vcpu.pin, online) for vcpu in plan.vcpus
    ]
    rows += [
        _row("iothread", f"iothread {io.iothread_id}", ids.iothreads.get(io.iothread_id), by_tid, io.pin, online)
        for io in plan.iothreads
    ]
    known = {row.tid for row in rows}
    workers = sorted(tid for tid, thread in by_tid.items() if tid not in known and _is_vhost(thread, ids))
    pin = worker_pin_of(plan)
    rows += [_row("vhost", "vhost", tid, by_tid, pin, online) for tid in workers]
    known.update(workers)
    rows += [_row("emulator", "emulator", tid, by_tid, plan.emulator, online) for tid in sorted(by_tid) if tid not in known]
    return tuple(rows)


def worker_pin_of(plan: VmPlan) -> frozenset[int]:
    """The pin of the VM's vhost workers: all nics' worker pins together, the emulator's where there is no nic.

    Workers carry no sign of which nic they serve, so the VM's workers share one pin.
    """
    pins = [nic.worker_pin for nic in plan.nics]
    return frozenset().union(*pins) if pins else plan.emulator


def _is_vhost(thread: SeenThread, ids: ThreadIds) -> bool:
    return thread.tid in ids.vhost_kthreads or thread.name.startswith("vhost-")


def _row(
    thread_class: ThreadClass,
    label: str,
    tid: int | None,
    by_tid: Mapping[int, SeenThread],
    pin: frozenset[int],
    online: frozenset[int],
) -> ThreadRow:
    thread = by_tid.get(tid) if tid is not None else None
    if thread is None:
        return ThreadRow(thread_class, label, None, "", pin, frozenset(), "missing")
    possible = pin & online
    verdict: Verdict = "ok" if thread.affinity & online == possible else "drift"
    if not possible:
        verdict = "not placeable"
    return ThreadRow(thread_class, label, thread.tid, thread.name, pin, thread.affinity, verdict)


def all_ok(rows: Iterable[ThreadRow]) -> bool:
    """True where every row's verdict is ok."""
    return all(row.verdict == "ok" for row in rows)


def drifted(rows: Iterable[ThreadRow]) -> tuple[ThreadRow, ...]:
    """The rows that can and must be put back."""
    return tuple(row for row in rows if row.verdict == "drift")
