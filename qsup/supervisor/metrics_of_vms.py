"""The metrics of the VMs: a handful for each, and some for each of its thread classes, disks and nics; none for a thread.

What a VM's monitor told last stays when it falls silent: `qsup_vm_silent_seconds` and `qsup_vm_disk_sample_age_seconds` say
how old it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import trio
from attrs import define, frozen

from qsup.host.net_counters import LinkCounters
from qsup.supervisor.block_watch import BlockWatch
from qsup.supervisor.metric import Family, Kind
from qsup.supervisor.process_watch import ProcessWatch
from qsup.supervisor.publish import view_of
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_watch import WaitWatch
from qsup.truth.process_stats import ProcessStats

_TABLE: tuple[tuple[str, Kind, str], ...] = (
    ("qsup_vm_info", "gauge", "What the VM is; always 1."),
    ("qsup_vm_phase", "gauge", "The phase that the VM is in now; always 1."),
    ("qsup_vm_phase_age_seconds", "gauge", "How long the VM has been in this phase."),
    ("qsup_vm_silent_seconds", "gauge", "How long QEMU's monitor has not answered; 0 while it does."),
    ("qsup_vm_file_valid", "gauge", "1 where the VM's file is valid, 0 where it is invalid, removed or absent."),
    ("qsup_vm_pending_changes", "gauge", "Keys of the file that are not in force yet."),
    ("qsup_vm_restarts_total", "counter", "Times that this daemon restarted the VM by itself."),
    ("qsup_vm_repairs_total", "counter", "Threads that were put back, since the daemon watches this QEMU."),
    ("qsup_vm_threads", "gauge", "Threads of the VM, as the last look found them."),
    ("qsup_vm_threads_in_place", "gauge", "Threads whose affinity in force is the planned one."),
    ("qsup_vm_threads_drifting", "gauge", "Threads that are elsewhere now."),
    ("qsup_vm_run_seconds_total", "counter", "Time that threads ran on a pCPU."),
    ("qsup_vm_ready_seconds_total", "counter", "Time that threads were runnable and waited for a pCPU."),
    ("qsup_vm_throttled_seconds_total", "counter", "Time that threads were held by a CPU quota; part of the ready time."),
    ("qsup_vm_vcpu_skew_ratio", "gauge", "How much more the VM's worst vCPU waited than its best one, in the last span."),
    ("qsup_vm_start_seconds", "gauge", "How long the last start took."),
    ("qsup_vm_start_stage_seconds", "gauge", "How long each stage of the last start took."),
    ("qsup_vm_resident_bytes", "gauge", "QEMU's memory on base pages, the guest's among it."),
    ("qsup_vm_hugepages_bytes", "gauge", "QEMU's memory on pages of hugepage pools."),
    ("qsup_vm_cpu_seconds_total", "counter", "Processor time of QEMU's process, all its threads together."),
    ("qsup_vm_storage_bytes_total", "counter", "Bytes that QEMU's process read from storage and wrote to it."),
    ("qsup_vm_disk_sample_age_seconds", "gauge", "How old the disk counters are."),
    ("qsup_vm_disk_read_bytes_total", "counter", "Bytes that the guest read."),
    ("qsup_vm_disk_written_bytes_total", "counter", "Bytes that the guest wrote."),
    ("qsup_vm_disk_operations_total", "counter", "Operations that were completed."),
    ("qsup_vm_disk_operation_seconds_total", "counter", "Time that operations took, added up: they overlap."),
    ("qsup_vm_disk_failed_operations_total", "counter", "Operations that failed."),
    ("qsup_vm_nic_bytes_total", "counter", "Bytes that the guest sent and received."),
    ("qsup_vm_nic_packets_total", "counter", "Packets that the guest sent and received."),
    ("qsup_vm_nic_dropped_total", "counter", "Packets that its tap dropped: on the way from and to the guest."),
)


@frozen
class Sources:
    """Where the numbers come from."""

    waits: WaitWatch
    blocks: BlockWatch
    processes: ProcessWatch
    links: Mapping[str, LinkCounters]


def vm_families(fleet: Iterable[VmState], sources: Sources, now_s: float) -> list[Family]:
    """All families of the VMs.

    Args:
        now_s: Unix time.
    """
    book = _Book({name: Family(name, kind, text) for name, kind, text in _TABLE})
    for vm in fleet:
        book.vm = vm.name
        _state(book, vm, now_s)
        _threads(book, vm, sources.waits)
        _last_start(book, vm)
        _process(book, sources.processes.sample(vm))
        _disks(book, vm, sources.blocks)
        _nics(book, vm, sources.links)
    return list(book.families.values())


@define
class _Book:
    families: dict[str, Family]
    vm: str = ""

    def add(self, name: str, value: float | None, **labels: str) -> None:
        self.families[f"qsup_vm_{name}"].add(value, vm=self.vm, **labels)


def _state(book: _Book, vm: VmState, now_s: float) -> None:
    view = view_of(vm)
    known = {"machine": view.machine, "accel": view.accel, "placement": view.placement}
    book.add("info", 1, **{label: value or "" for label, value in known.items()})
    book.add("phase", 1, phase=view.phase, wanted=view.power)
    book.add("phase_age_seconds", max(now_s - view.phase_since_s, 0.0))
    if view.pid is not None:
        book.add("silent_seconds", view.silent_s or 0.0)
    book.add("file_valid", int(view.config_state == "valid"))
    book.add("pending_changes", len(view.pending))
    book.add("restarts_total", view.restarts)
    book.add("repairs_total", view.repairs)


def _threads(book: _Book, vm: VmState, waits: WaitWatch) -> None:
    if vm.run.process is not None and not vm.run.gone:
        there = Counter(row.thread_class for row in vm.run.rows if row.tid is not None)
        in_place = Counter(row.thread_class for row in vm.run.rows if row.verdict == "ok")
        for thread_class, count in sorted(there.items()):
            book.add("threads", count, **{"class": thread_class})
            book.add("threads_in_place", in_place[thread_class], **{"class": thread_class})
        book.add("threads_drifting", sum(row.verdict == "drift" for row in vm.run.rows))
        book.add("vcpu_skew_ratio", waits.skew_share(vm.name))
    for class_name, total in sorted(waits.totals(vm.name).items()):
        book.add("run_seconds_total", total.run_s, **{"class": class_name})
        book.add("ready_seconds_total", total.wait_s, **{"class": class_name})
    book.add("throttled_seconds_total", waits.throttled_s(vm.name))


def _last_start(book: _Book, vm: VmState) -> None:
    done = [start for start in vm.past.starts if start.outcome in ("running", "paused")]
    if not done:
        return
    start = max(done, key=lambda start: start.started_at_s)
    book.add("start_seconds", start.total_ms / 1000)
    for stage in start.stages:
        book.add("start_stage_seconds", stage.duration_ms / 1000, stage=stage.stage)


def _process(book: _Book, stats: ProcessStats | None) -> None:
    if stats is None:
        return
    book.add("resident_bytes", stats.resident_bytes)
    book.add("hugepages_bytes", stats.hugepages_bytes)
    book.add("cpu_seconds_total", stats.user_s, mode="user")
    book.add("cpu_seconds_total", stats.system_s, mode="system")
    book.add("storage_bytes_total", stats.read_bytes, direction="read")
    book.add("storage_bytes_total", stats.written_bytes, direction="written")


def _disks(book: _Book, vm: VmState, blocks: BlockWatch) -> None:
    sample = blocks.sample(vm)
    if sample is None or not sample.disks:
        return
    book.add("disk_sample_age_seconds", trio.current_time() - sample.at_s)
    for disk, row in sorted(sample.disks.items()):
        book.add("disk_read_bytes_total", row.read_bytes, disk=disk)
        book.add("disk_written_bytes_total", row.written_bytes, disk=disk)
        book.add("disk_failed_operations_total", row.failed_operations, disk=disk)
        for operation, count, spent_ns in (
            ("read", row.read_operations, row.read_time_ns),
            ("write", row.write_operations, row.write_time_ns),
            ("flush", row.flush_operations, row.flush_time_ns),
        ):
            book.add("disk_operations_total", count, disk=disk, operation=operation)
            book.add("disk_operation_seconds_total", spent_ns / 1e9, disk=disk, operation=operation)


def _nics(book: _Book, vm: VmState, links: Mapping[str, LinkCounters]) -> None:
    for nic in vm.run.plan.nics if vm.run.plan is not None else ():
        link = links.get(nic.tap)
        if link is None:
            continue
        # The tap receives what the guest sends.
        for direction, sent_bytes, packets, dropped in (
            ("sent", link.rx_bytes, link.rx_packets, link.rx_dropped),
            ("received", link.tx_bytes, link.tx_packets, link.tx_dropped),
        ):
            book.add("nic_bytes_total", sent_bytes, nic=nic.nic_id, direction=direction)
            book.add("nic_packets_total", packets, nic=nic.nic_id, direction=direction)
            book.add("nic_dropped_total", dropped, nic=nic.nic_id, direction=direction)
