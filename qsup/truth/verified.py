"""VmVerified: one VM planned against seen, row by row, with one verdict and what it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from qsup.plan.vmplan import VmPlan
from qsup.truth.devices import DiskRow, NicRow
from qsup.truth.memory import MemoryRow
from qsup.truth.schedulers import policy_name
from qsup.truth.thread_facts import ThreadFacts
from qsup.truth.threads import ThreadIds, ThreadRow, ids_by_name, thread_rows

RowVerdict = Literal["ok", "drift", "not placeable", "unknown"]
VmVerdict = Literal["ok", "drift", "not placeable", "unknown", "not running"]

_KINDS = (("worker", "worker"), ("TC ", "thread-context"), ("kvm-nx-lpage-re", "nx-lpage-recovery"))


@frozen
class ThreadTruth:
    """One thread with everything that decides where it runs.

    `kind`: "vcpu", "iothread", "vhost", "emulator", "worker", "io-wq", "thread-context", "kvm-pit", "nx-lpage-recovery",
    "helper". `policy` is the scheduling policy by name, `cpuset` what its cgroup allows; None: unknown, or no cpuset.
    """

    kind: str
    label: str
    tid: int | None
    name: str
    pin: frozenset[int]
    affinity: frozenset[int]
    last_pcpu: int | None
    policy: str | None
    rt_priority: int | None
    cpuset: frozenset[int] | None
    verdict: RowVerdict
    note: str = ""


@frozen
class SeenProcess:
    """What the kernel tells of a VM's threads in one look.

    `threads`: QEMU's own and the kernel threads that work for it. `helpers`: threads of QEMU's child processes. `cpusets`: by
    thread id.
    """

    threads: tuple[ThreadFacts, ...] = ()
    helpers: tuple[ThreadFacts, ...] = ()
    cpusets: Mapping[int, frozenset[int] | None] = field(factory=dict)
    online: frozenset[int] = frozenset()


@frozen
class VmVerified:
    """The truth table of one VM.

    `checked_at_s` and `memory_counted_at_s` are Unix times. `notes` say what the table is not. `repairs` counts the threads
    that were put back since qsup watches this process; `left_alone` those that are left where others move them now.
    """

    vm: str
    phase: str
    checked_at_s: float
    pid: int | None = None
    notes: tuple[str, ...] = ()
    threads: tuple[ThreadTruth, ...] = ()
    memory: tuple[MemoryRow, ...] = ()
    nics: tuple[NicRow, ...] = ()
    disks: tuple[DiskRow, ...] = ()
    memory_counted_at_s: float | None = None
    repairs: int = 0
    left_alone: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows have each verdict."""
        rows: tuple[ThreadTruth | MemoryRow | NicRow | DiskRow, ...] = (*self.threads, *self.memory, *self.nics, *self.disks)
        found = Counter(row.verdict for row in rows)
        return {verdict: found[verdict] for verdict in ("ok", "drift", "not placeable", "unknown")}

    @property
    def verdict(self) -> VmVerdict:
        """The worst of its rows; a VM that has none does not run, or is nothing that qsup knows."""
        counts = self.counts
        order: tuple[VmVerdict, ...] = ("drift", "not placeable", "unknown")
        worst = next((verdict for verdict in order if counts[verdict]), None)
        if worst is not None:
            return worst
        return "ok" if counts["ok"] else "unknown" if self.pid is not None or self.phase == "stray" else "not running"


def thread_truths(
    plan: VmPlan, ids: ThreadIds | None, seen: SeenProcess, *, refused: Collection[int] = (), fought: Collection[int] = ()
) -> tuple[ThreadTruth, ...]:
    """A row for every thread.

    Args:
        ids: as QEMU told them; None: it never did, and the names that it gives its threads stand in.
        refused: threads that the kernel does not let be placed. fought: threads that are left alone.
    """
    named = ids_by_name(plan, seen.threads) if ids is None else ids
    kernel = frozenset(thread.tid for thread in seen.threads if thread.kernel)
    workers = frozenset(thread.tid for thread in seen.threads if thread.kernel and thread.name.startswith("vhost-"))
    named = ThreadIds(named.vcpus, named.iothreads, workers, kernel - workers)
    rows = thread_rows(plan, named, seen.threads, seen.online, refused)
    facts = {thread.tid: thread for thread in (*seen.threads, *seen.helpers)}
    told = ids is not None
    truths = [_truth_of(row, _kind_of(row), facts, seen, fought, told=told) for row in rows]
    helpers = thread_rows_of_helpers(plan, seen)
    truths += [_truth_of(row, "helper", facts, seen, fought, told=True) for row in helpers]
    return tuple(truths)


def thread_rows_of_helpers(plan: VmPlan, seen: SeenProcess) -> Iterable[ThreadRow]:
    """Rows of the threads of QEMU's child processes: they belong where the emulator is."""
    for thread in seen.helpers:
        possible = plan.emulator & seen.online
        placed = thread.affinity & seen.online <= possible
        yield ThreadRow(
            "emulator", "helper", thread.tid, thread.name, plan.emulator, thread.affinity, "ok" if placed else "drift"
        )


def _kind_of(row: ThreadRow) -> str:
    if row.thread_class == "kernel":
        return row.label
    if row.thread_class != "emulator":
        return row.thread_class
    return next((kind for start, kind in _KINDS if row.name.startswith(start)), "emulator")


def _truth_of(
    row: ThreadRow, kind: str, facts: Mapping[int, ThreadFacts], seen: SeenProcess, fought: Collection[int], *, told: bool
) -> ThreadTruth:
    thread = facts.get(row.tid) if row.tid is not None else None
    cpuset = seen.cpusets.get(row.tid) if row.tid is not None else None
    verdict, note = _verdict_of(row, cpuset, fought, seen.online, told)
    return ThreadTruth(
        kind=kind,
        label=row.label if row.thread_class in ("vcpu", "iothread") else kind,
        tid=row.tid,
        name=row.name,
        pin=row.pin,
        affinity=row.affinity,
        last_pcpu=thread.last_pcpu if thread is not None else None,
        policy=policy_name(thread.policy) if thread is not None else None,
        rt_priority=thread.rt_priority if thread is not None else None,
        cpuset=cpuset,
        verdict=verdict,
        note=note,
    )


def _verdict_of(
    row: ThreadRow, cpuset: frozenset[int] | None, fought: Collection[int], online: frozenset[int], told: bool
) -> tuple[RowVerdict, str]:
    if row.verdict == "missing":
        return ("drift", "QEMU has no such thread") if told else ("unknown", "QEMU does not answer, and no thread is called so")
    if row.verdict == "not placeable":
        return "not placeable", _why_not(row, cpuset, online)
    if row.verdict == "drift":
        return "drift", "; ".join(_how_it_drifted(row, fought))
    return "ok", ""


def _how_it_drifted(row: ThreadRow, fought: Collection[int]) -> Iterable[str]:
    if row.is_demoted:
        yield f"its scheduler is {row.scheduler}, planned is {row.planned_scheduler}"
    if row.tid in fought:
        yield "left alone: somebody moves it again and again"


def _why_not(row: ThreadRow, cpuset: frozenset[int] | None, online: frozenset[int]) -> str:
    if not row.pin & online:
        return "no pCPU of its pin is online"
    if cpuset is not None and not row.pin & cpuset:
        return "its cpuset allows no pCPU of its pin"
    if row.is_demoted and not row.is_elsewhere:
        return f"the kernel refuses it {row.planned_scheduler}, its scheduler is {row.scheduler}"
    return "the kernel refuses to place it"
