"""Top: frames for `qsup top`, put together from what is known already. No VM is asked here, and nothing waits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from typing import Any

import trio
from attrs import define, field

from qsup.cpuset import format_cpulist
from qsup.natural import natural
from qsup.plan.vmplan import VmPlan
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.page_sizes import pages_asked, pages_planned
from qsup.supervisor.top_counters import TopCounters
from qsup.supervisor.top_view import TopFrame, TopMemory, TopThread, TopVm
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_watch import WaitReport
from qsup.truth.memory import MemoryCount, memory_rows
from qsup.truth.wait import ThreadWait, VmWait

MOST_WAITING = 100
LEAST_WAIT = 0.005


@define(eq=False)
class _Counted:
    """Where a VM's pages were at its last count; looked at again after the next one."""

    plan: VmPlan
    count: MemoryCount | None
    memory: TopMemory = field(factory=TopMemory)


class Top:
    """Builds frames; `run` keeps up what has to be asked while somebody watches."""

    def __init__(self, fleet: Mapping[str, VmState]) -> None:
        self._fleet = fleet
        self._counters = TopCounters(fleet)
        self._counted: dict[str, _Counted] = {}

    async def run(self) -> None:
        """Ask QEMUs while somebody watches, for ever."""
        await self._counters.run()

    def frame(self, report: WaitReport | None, vm: str | None) -> TopFrame:
        """The moment of a report on waiting: all VMs, or one with its threads."""
        self._counters.want(vm)
        for gone in self._counted.keys() - self._fleet.keys():
            del self._counted[gone]
        interval = report.interval if report is not None else None
        waits = {wait.vm: wait for wait in interval.vms} if interval is not None else {}
        shown = [self._fleet[name] for name in sorted(self._fleet, key=natural) if vm in (None, name)]
        now_s = trio.current_time()
        return TopFrame(
            at_s=report.at_s if report is not None else time.time(),
            span_s=interval.span_s if interval is not None else None,
            blamed=interval.blamed if interval is not None else False,
            settled=self._counters.settled and interval is not None and interval.blamed,
            steal_share=interval.steal_share if interval is not None else None,
            vms=tuple(self._row(state, waits.get(state.name), interval.span_s if interval else 0.0, now_s) for state in shown),
            waiting=_waiting(wait for name, wait in waits.items() if vm in (None, name)),
            threads=tuple(_threads(shown[0], waits.get(shown[0].name))) if vm is not None and shown else None,
        )

    def _row(self, vm: VmState, wait: VmWait | None, span_s: float, now_s: float) -> TopVm:
        run, plan = vm.run, vm.run.plan
        alive = run.process is not None and not run.gone
        silent_since_s = run.link.silent_since_s if run.link is not None else None
        shape = _planned(plan) if plan is not None else _asked_for(vm.config.spec)
        return TopVm(
            name=vm.name,
            phase=vm.phase,
            phase_since_s=vm.phase_since_s,
            pid=run.process.pid if run.process is not None and alive else None,
            silent_s=now_s - silent_since_s if silent_since_s is not None and alive else None,
            **shape,
            drifting=sum(row.verdict == "drift" for row in run.rows) if alive else 0,
            repairs=run.truth.repairs,
            memory=self._memory(vm, plan) if plan is not None and alive else TopMemory(),
            nics=self._counters.nics_of(plan) if plan is not None and alive else (),
            qemu=self._counters.rates_of(vm) if alive else None,
            **(_shares(wait, span_s) if wait is not None and alive else {}),
        )

    def _memory(self, vm: VmState, plan: VmPlan) -> TopMemory:
        count = vm.run.truth.count
        known = self._counted.get(vm.name)
        if known is None or known.plan is not plan or known.count is not count:
            known = self._counted[vm.name] = _Counted(plan, count, _locality(plan, count))
        return known.memory


def _shares(wait: VmWait, span_s: float) -> dict[str, Any]:
    return {
        "run_share": sum(spent.run_ns for spent in wait.classes.values()) / 1e9 / span_s,
        "ready_share": wait.ready_share,
        "throttled_share": wait.throttled_share,
        "skew_share": wait.skew_share,
        "worst": _worst(wait),
    }


def _planned(plan: VmPlan) -> dict[str, Any]:
    return {
        "vcpus": len(plan.vcpus),
        "memory_bytes": plan.memory_bytes,
        **pages_planned(plan),
        "placement": plan.placement,
        "host_nodes": tuple(sorted({number for node in plan.guest_nodes for number in node.host_nodes})),
    }


def _asked_for(spec: VmSpec | None) -> dict[str, Any]:
    return {
        "vcpus": spec.cpu.vcpus if spec is not None else None,
        "memory_bytes": spec.memory.size_bytes if spec is not None else None,
        **(pages_asked(spec.memory) if spec is not None else {"page_size_bytes": None, "page_sizes_bytes": ()}),
        "placement": spec.cpu.placement if spec is not None else None,
        "host_nodes": (),
    }


def _locality(plan: VmPlan, count: MemoryCount | None) -> TopMemory:
    rows = [row for row in memory_rows(plan, count) if row.local_percent is not None]
    present, misplaced = sum(row.present_bytes for row in rows), sum(row.misplaced_bytes for row in rows)
    percent = (present - misplaced) * 1000 // present / 10 if present else None
    return TopMemory(percent, misplaced, count.counted_at_s if count is not None and count.problem is None else None)


def _worst(wait: VmWait) -> ThreadWait | None:
    """The vCPU that waited most, where that is worth a word."""
    vcpus = [thread for thread in wait.threads if thread.thread_class == "vcpu"]
    worst = max(vcpus, key=lambda thread: thread.ready_share, default=None)
    return worst if worst is not None and worst.ready_share >= LEAST_WAIT else None


def _waiting(waits: Iterable[VmWait]) -> tuple[tuple[str, ThreadWait], ...]:
    rows = [(wait.vm, thread) for wait in waits for thread in wait.threads if thread.ready_share >= LEAST_WAIT]
    return tuple(nlargest(MOST_WAITING, rows, key=lambda row: row[1].ready_share))


def _threads(vm: VmState, wait: VmWait | None) -> Iterator[TopThread]:
    """The threads of the last look, with what they did; those that came since are told by the sampler alone."""
    if vm.run.process is None or vm.run.gone:
        return
    did = {thread.tid: thread for thread in (wait.threads if wait is not None else ())}
    for row in vm.run.rows:
        seen = did.pop(row.tid, None) if row.tid is not None else None
        masks = format_cpulist(row.pin), format_cpulist(row.affinity)
        yield TopThread(row.label, row.thread_class, row.tid, row.name, *masks, row.verdict, seen)
    for thread in did.values():
        yield TopThread(thread.role, thread.thread_class, thread.tid, "", "", "", "unknown", thread)
