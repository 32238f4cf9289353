"""Whose thread is where: the planned pin of every thread against the affinity that the kernel tells.

Strategy: a thread's class follows from its id where QMP told it (vCPUs, iothreads) and from its name otherwise
(vhost workers, io-wq); every other thread of the process, and kernel threads that work for it, belong to the emulator's
pin. A thread that is planned and not seen yet is a row of its own, so that "all rows are ok" means that all that was
planned is there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from attrs import evolve, field, frozen

from qsup.plan.vmplan import VcpuPlan, VmPlan
from qsup.truth.schedulers import scheduler_name

ThreadClass = Literal["vcpu", "iothread", "vhost", "emulator", "io-wq", "kernel"]
Verdict = Literal["ok", "drift", "missing", "not placeable"]

LATE_CLASSES: frozenset[ThreadClass] = frozenset({"io-wq", "kernel"})
"""Threads that the kernel makes for itself: some kernels do not let them be placed, and no guest waits for that."""

_VCPU_NAME = re.compile(r"CPU ([0-9]{1,5})/(?:KVM|TCG)", re.ASCII)
_COMM_CHARACTERS = 15


@frozen
class SeenThread:
    """One thread as the kernel tells it: `affinity` is the mask in force, `name` its comm.

    `policy` is the kernel's number (0 other, 1 fifo, 2 rr, 3 batch, 5 idle, 6 deadline), `rt_priority` 0 outside the real-time
    policies.
    """

    tid: int
    name: str
    affinity: frozenset[int]
    policy: int = 0
    rt_priority: int = 0


@frozen
class ThreadIds:
    """Thread ids as told: vCPUs by vcpu_index, iothreads by object id; kernel threads: vhost workers and other helpers."""

    vcpus: Mapping[int, int] = field(factory=dict)
    iothreads: Mapping[str, int] = field(factory=dict)
    vhost_kthreads: frozenset[int] = frozenset()
    kernel_helpers: frozenset[int] = frozenset()


@frozen
class ThreadRow:
    """One thread, planned against seen. `tid` is None where the thread is missing.

    `fifo_priority`: the real-time priority that it is planned to have (None: its scheduler is no matter), `scheduler` what
    it has instead or so ("other", "fifo 3").
    """

    thread_class: ThreadClass
    label: str
    tid: int | None
    name: str
    pin: frozenset[int]
    affinity: frozenset[int]
    verdict: Verdict
    fifo_priority: int | None = None
    scheduler: str = ""

    @property
    def planned_scheduler(self) -> str:
        """As `scheduler` has to be; empty where it is no matter."""
        return f"fifo {self.fifo_priority}" if self.fifo_priority is not None else ""

    @property
    def is_demoted(self) -> bool:
        """Whether a real-time thread is under another policy or priority than planned."""
        return self.tid is not None and self.fifo_priority is not None and self.scheduler != self.planned_scheduler

    @property
    def is_elsewhere(self) -> bool:
        """Whether its mask is another one than its pin; where only offline pCPUs make the difference, too."""
        return self.tid is not None and self.affinity != self.pin


def thread_rows(
    plan: VmPlan, ids: ThreadIds, seen: Iterable[SeenThread], online: frozenset[int], refused: Collection[int] = ()
) -> tuple[ThreadRow, ...]:
    """All threads of a VM: vCPUs first, then iothreads, vhost workers, emulator threads by id, io-wq, kernel threads.

    Args:
        online: the pCPUs that are online; the kernel drops the others from a mask, which is no drift.
        refused: the ids of threads that the kernel does not let be placed: where they are elsewhere, nothing helps.

    Returns:
        tuple of rows; planned vCPUs and iothreads that were not seen stand in it with verdict "missing".
    """
    by_tid = {thread.tid: thread for thread in seen}
    see = _Sight(by_tid, online, refused)
    rows = [see.vcpu_row(plan, vcpu, ids) for vcpu in plan.vcpus]
    rows += [
        see.row("iothread", f"iothread {io.iothread_id}", ids.iothreads.get(io.iothread_id), io.pin) for io in plan.iothreads
    ]
    known = {row.tid for row in rows}
    others: dict[ThreadClass, list[int]] = {"vhost": [], "emulator": [], "io-wq": [], "kernel": []}
    for tid in sorted(by_tid.keys() - known):
        others[_class_of(by_tid[tid], ids)].append(tid)
    for thread_class, tids in others.items():
        pin = worker_pin_of(plan) if thread_class == "vhost" else plan.emulator
        label = "{}" if thread_class == "kernel" else thread_class
        rows += [see.row(thread_class, label.format(kernel_label_of(by_tid[tid].name)), tid, pin) for tid in tids]
    return tuple(rows)


def ids_by_name(plan: VmPlan, seen: Iterable[SeenThread]) -> ThreadIds:
    """The thread ids by the names that QEMU gives its threads (debug-threads=on), for when its monitor does not tell them."""
    vcpus: dict[int, int] = {}
    iothreads: dict[str, int] = {}
    names = {f"IO {io.iothread_id}"[:_COMM_CHARACTERS]: io.iothread_id for io in plan.iothreads}
    for thread in seen:
        match = _VCPU_NAME.fullmatch(thread.name)
        if match:
            vcpus[int(match[1])] = thread.tid
        elif thread.name in names:
            iothreads[names[thread.name]] = thread.tid
    return ThreadIds(vcpus, iothreads)


def kernel_label_of(name: str) -> str:
    """What a kernel thread is called: its name without the process id in it."""
    return "nx-lpage-recovery" if name.startswith("kvm-nx-lpage-re") else name.partition("/")[0]


def worker_pin_of(plan: VmPlan) -> frozenset[int]:
    """The pin of the VM's vhost workers: all nics' worker pins together, the emulator's where there is no nic.

    Workers carry no sign of which nic they serve, so the VM's workers share one pin.
    """
    pins = [nic.worker_pin for nic in plan.nics]
    return frozenset().union(*pins) if pins else plan.emulator


def _class_of(thread: SeenThread, ids: ThreadIds) -> ThreadClass:
    if thread.tid in ids.vhost_kthreads or thread.name.startswith("vhost-"):
        return "vhost"
    if thread.tid in ids.kernel_helpers:
        return "kernel"
    return "io-wq" if thread.name.startswith("iou-wrk-") else "emulator"


@frozen
class _Sight:
    by_tid: Mapping[int, SeenThread]
    online: frozenset[int]
    refused: Collection[int]

    def vcpu_row(self, plan: VmPlan, vcpu: VcpuPlan, ids: ThreadIds) -> ThreadRow:
        index = vcpu.vcpu_index
        row = self.row("vcpu", f"vcpu {index}", ids.vcpus.get(index), vcpu.pin)
        if row.tid is None or index not in plan.realtime_vcpus:
            return row
        thread = self.by_tid[row.tid]
        scheduler = scheduler_name(thread.policy, thread.rt_priority)
        row = evolve(row, fifo_priority=plan.realtime_priority, scheduler=scheduler)
        if not row.is_demoted or row.verdict != "ok":
            return row
        return evolve(row, verdict="not placeable" if row.tid in self.refused else "drift")

    def row(self, thread_class: ThreadClass, label: str, tid: int | None, pin: frozenset[int]) -> ThreadRow:
        thread = self.by_tid.get(tid) if tid is not None else None
        if thread is None:
            return ThreadRow(thread_class, label, None, "", pin, frozenset(), "missing")
        return ThreadRow(thread_class, label, thread.tid, thread.name, pin, thread.affinity, self._verdict(thread, pin))

    def _verdict(self, thread: SeenThread, pin: frozenset[int]) -> Verdict:
        possible = pin & self.online
        if not possible:
            return "not placeable"
        if thread.affinity & self.online == possible:
            return "ok"
        return "not placeable" if thread.tid in self.refused else "drift"


def all_ok(rows: Iterable[ThreadRow]) -> bool:
    """True where every row's verdict is ok."""
    return all(row.verdict == "ok" for row in rows)


def drifted(rows: Iterable[ThreadRow]) -> tuple[ThreadRow, ...]:
    """The rows that can and must be put back."""
    return tuple(row for row in rows if row.verdict == "drift")
