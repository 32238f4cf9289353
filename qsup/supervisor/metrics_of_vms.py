"""The metrics of the VMs: a handful for each, and some for each of its thread classes; none for a thread.

What a VM's monitor told last stays when it falls silent: `qsup_vm_silent_seconds` and the samples' ages say how old it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import trio
from attrs import frozen

from qsup.host.net_counters import LinkCounters
from qsup.supervisor.guest_stats import GuestStats
from qsup.supervisor.metric import Book, Family, Kind
from qsup.supervisor.metrics_of_guests import GUEST_TABLE, add_disks, add_kvm, add_nics
from qsup.supervisor.process_watch import ProcessWatch
from qsup.supervisor.publish import pending_of
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_watch import WaitWatch
from qsup.truth.process_stats import ProcessStats

_TABLE: tuple[tuple[str, Kind, str], ...] = (
    ("info", "gauge", "What the VM is; always 1."),
    ("phase", "gauge", "The phase that the VM is in now; always 1."),
    ("phase_age_seconds", "gauge", "How long the VM has been in this phase."),
    ("silent_seconds", "gauge", "How long QEMU's monitor has not answered; 0 while it does."),
    ("file_valid", "gauge", "1 where the VM's file is valid, 0 where it is invalid, removed or absent."),
    ("pending_changes", "gauge", "Keys of the file that are not in force yet."),
    ("restarts_total", "counter", "Times that this daemon restarted the VM by itself."),
    ("repairs_total", "counter", "Threads that were put back, since the daemon watches this QEMU."),
    ("threads", "gauge", "Threads of the VM, as the last look found them."),
    ("threads_in_place", "gauge", "Threads whose affinity in force is the planned one."),
    ("threads_drifting", "gauge", "Threads that are elsewhere now."),
    ("threads_left_alone", "gauge", "Threads that others move again and again, and that are left where they are."),
    ("memory_bytes", "gauge", "The guest's memory, as planned."),
    ("memory_misplaced_bytes", "gauge", "Pages of the guest's memory that are on other nodes than planned, as counted last."),
    ("memory_local_ratio", "gauge", "Share of its bound pages that is on a planned node, as counted last."),
    ("memory_count_age_seconds", "gauge", "How old the count of its pages is."),
    ("run_seconds_total", "counter", "Time that threads ran on a pCPU."),
    ("ready_seconds_total", "counter", "Time that threads were runnable and waited for a pCPU."),
    ("throttled_seconds_total", "counter", "Time that threads were held by a CPU quota; part of the ready time."),
    ("vcpu_skew_ratio", "gauge", "How much more the VM's worst vCPU waited than its best one, in the last span."),
    ("start_seconds", "gauge", "How long the last start took."),
    ("start_stage_seconds", "gauge", "How long each stage of the last start took."),
    ("resident_bytes", "gauge", "QEMU's memory on base pages, the guest's among it."),
    ("hugepages_bytes", "gauge", "QEMU's memory on pages of hugepage pools."),
    ("cpu_seconds_total", "counter", "Processor time of QEMU's process, all its threads together."),
    ("storage_bytes_total", "counter", "Bytes that QEMU's process read from storage and wrote to it."),
)


@frozen
class Sources:
    """Where the numbers come from."""

    waits: WaitWatch
    guests: GuestStats
    processes: ProcessWatch
    links: Mapping[str, LinkCounters]


def vm_families(fleet: Iterable[VmState], sources: Sources) -> list[Family]:
    """All families of the VMs. Ages are by clocks that never step."""
    book = Book.of((*_TABLE, *GUEST_TABLE))
    for vm in fleet:
        book.vm = vm.name
        _state(book, vm)
        _threads(book, vm, sources.waits)
        _memory(book, vm)
        _last_start(book, vm)
        _process(book, sources.processes.sample(vm))
        sample = sources.guests.sample(vm)
        if sample is not None:
            add_disks(book, sample, trio.current_time())
            add_kvm(book, sample, trio.current_time())
        add_nics(book, vm, sources.links)
    return list(book.families.values())


def _state(book: Book, vm: VmState) -> None:
    run = vm.run
    plan, spec = run.plan, vm.config.spec
    placement = plan.placement if plan is not None else spec.cpu.placement if spec is not None else ""
    machine, accel = (plan.machine, plan.accel) if plan is not None else ("", "")
    book.add("info", 1, machine=machine, accel=accel, placement=placement)
    book.add("phase", 1, phase=vm.phase, wanted=vm.power.wanted)
    book.add("phase_age_seconds", time.monotonic() - vm.phase_entered_s)
    if _is_alive(vm):
        since_s = run.link.silent_since_s if run.link is not None else None
        book.add("silent_seconds", trio.current_time() - since_s if since_s is not None else 0.0)
        book.add("pending_changes", len(pending_of(vm)))
    else:
        book.add("pending_changes", 0)
    book.add("file_valid", int(vm.config.state == "valid"))
    book.add("restarts_total", vm.past.restarts)
    book.add("repairs_total", run.truth.repairs)


def _is_alive(vm: VmState) -> bool:
    return vm.run.process is not None and not vm.run.gone


def _threads(book: Book, vm: VmState, waits: WaitWatch) -> None:
    if _is_alive(vm):
        there: dict[str, int] = {}
        in_place: dict[str, int] = {}
        drifting = 0
        for row in vm.run.rows:
            if row.tid is not None:
                there[row.thread_class] = there.get(row.thread_class, 0) + 1
                in_place[row.thread_class] = in_place.get(row.thread_class, 0) + (row.verdict == "ok")
                drifting += row.verdict == "drift"
        for thread_class, count in sorted(there.items()):
            book.add("threads", count, **{"class": thread_class})
            book.add("threads_in_place", in_place[thread_class], **{"class": thread_class})
        book.add("threads_drifting", drifting)
        book.add("threads_left_alone", sum(known.left == "fought" for known in vm.run.truth.drift.values()))
        book.add("vcpu_skew_ratio", waits.skew_share(vm.name))
    for class_name, total in sorted(waits.totals(vm.name).items()):
        book.add("run_seconds_total", total.run_s, **{"class": class_name})
        book.add("ready_seconds_total", total.wait_s, **{"class": class_name})
    book.add("throttled_seconds_total", waits.throttled_s(vm.name))


def _memory(book: Book, vm: VmState) -> None:
    truth = vm.run.truth
    if vm.run.plan is None or not _is_alive(vm):
        return
    book.add("memory_bytes", vm.run.plan.memory_bytes)
    if truth.count is not None and truth.count.problem is None:
        book.add("memory_misplaced_bytes", truth.misplaced_bytes)
        book.add("memory_local_ratio", truth.local_ratio)
        if truth.counted_s is not None:
            book.add("memory_count_age_seconds", trio.current_time() - truth.counted_s)


def _last_start(book: Book, vm: VmState) -> None:
    if not vm.past.starts:
        return
    start = max(vm.past.starts, key=lambda start: start.started_at_s)
    book.add("start_seconds", start.total_ms / 1000)
    for stage in start.stages:
        book.add("start_stage_seconds", stage.duration_ms / 1000, stage=stage.stage)


def _process(book: Book, stats: ProcessStats | None) -> None:
    if stats is None:
        return
    book.add("resident_bytes", stats.resident_bytes)
    book.add("hugepages_bytes", stats.hugepages_bytes)
    book.add("cpu_seconds_total", stats.user_s, mode="user")
    book.add("cpu_seconds_total", stats.system_s, mode="system")
    book.add("storage_bytes_total", stats.read_bytes, direction="read")
    book.add("storage_bytes_total", stats.written_bytes, direction="written")
