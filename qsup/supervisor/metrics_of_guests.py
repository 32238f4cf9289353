"""The metrics of what the guests do: their disks with latencies, what KVM did for them, their nics."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache

from qsup.host.net_counters import LinkCounters
from qsup.qmp.results import BlockCounters, LatencyHistogram
from qsup.supervisor.guest_stats import GuestSample
from qsup.supervisor.metric import Book, Histogram, Kind
from qsup.supervisor.vm_state import VmState

GUEST_TABLE: tuple[tuple[str, Kind, str], ...] = (
    ("disk_sample_age_seconds", "gauge", "How old the disk counters are."),
    ("disk_read_bytes_total", "counter", "Bytes that the guest read."),
    ("disk_written_bytes_total", "counter", "Bytes that the guest wrote."),
    ("disk_operations_total", "counter", "Operations that were completed."),
    ("disk_operation_seconds_total", "counter", "Time that operations took, added up: they overlap."),
    ("disk_failed_operations_total", "counter", "Operations that failed."),
    ("disk_latency_seconds", "histogram", "How long operations took, since QEMU was asked to count it."),
    ("kvm_sample_age_seconds", "gauge", "How old KVM's counters are."),
    ("kvm_exits_total", "counter", "Times that a vCPU left the guest."),
    ("kvm_exits_by_cause_total", "counter", "Times that a vCPU left the guest, by some of the causes."),
    ("kvm_halted_seconds_total", "counter", "Time that vCPUs slept in a halt, all together."),
    ("kvm_polled_seconds_total", "counter", "Time that vCPUs polled in a halt before they slept, by whether it helped."),
    ("kvm_page_faults_total", "counter", "Page faults that KVM served for the guest."),
    ("kvm_emulated_instructions_total", "counter", "Instructions that KVM emulated."),
    ("kvm_tlb_flushes_total", "counter", "Times that all vCPUs had to flush their TLBs."),
    ("kvm_mapped_pages", "gauge", "Pages that KVM has mapped for the guest, by their size there."),
    ("kvm_split_pages", "gauge", "Huge pages that KVM split against a fault of the processor (nx_huge_pages)."),
    ("balloon_bytes", "gauge", "Memory that its balloon leaves to the guest."),
    ("nic_bytes_total", "counter", "Bytes that the guest sent and received."),
    ("nic_packets_total", "counter", "Packets that the guest sent and received."),
    ("nic_dropped_total", "counter", "Packets that its tap dropped: on the way from and to the guest."),
)
_CAUSES = (
    ("halt", "halt_exits"),
    ("interrupt", "irq_exits"),
    ("interrupt-window", "irq_window_exits"),
    ("io", "io_exits"),
    ("mmio", "mmio_exits"),
    ("signal", "signal_exits"),
)
_COUNTERS = (
    ("kvm_exits_total", "exits"),
    ("kvm_page_faults_total", "pf_taken"),
    ("kvm_emulated_instructions_total", "insn_emulation"),
    ("kvm_tlb_flushes_total", "remote_tlb_flush"),
    ("kvm_split_pages", "nx_lpage_splits"),
)
_PAGES = (("4096", "pages_4k"), ("2097152", "pages_2m"), ("1073741824", "pages_1g"))


def add_disks(book: Book, sample: GuestSample, now_s: float) -> None:
    """Its disks, where QEMU has told of some."""
    if not sample.disks:
        return
    book.add("disk_sample_age_seconds", now_s - sample.disks_at_s)
    for disk, row in sorted(sample.disks.items()):
        book.add("disk_read_bytes_total", row.read_bytes, disk=disk)
        book.add("disk_written_bytes_total", row.written_bytes, disk=disk)
        book.add("disk_failed_operations_total", row.failed_operations, disk=disk)
        for operation, count, spent_ns, latency in _operations_of(row):
            book.add("disk_operations_total", count, disk=disk, operation=operation)
            book.add("disk_operation_seconds_total", spent_ns / 1e9, disk=disk, operation=operation)
            if latency is not None:
                _add_latency(book, disk, operation, latency, _share_of(latency, count) * spent_ns / 1e9)


def _operations_of(row: BlockCounters) -> tuple[tuple[str, int, int, LatencyHistogram | None], ...]:
    return (
        ("read", row.read_operations, row.read_time_ns, row.read_latency),
        ("write", row.write_operations, row.write_time_ns, row.write_latency),
        ("flush", row.flush_operations, row.flush_time_ns, row.flush_latency),
    )


def _share_of(latency: LatencyHistogram, operations: int) -> float:
    """The part of all operations that is in the histogram: QEMU counts time from its begin, latencies since it was asked to."""
    return min(sum(latency.bins) / operations, 1.0) if operations else 0.0


def _add_latency(book: Book, disk: str, operation: str, latency: LatencyHistogram, sum_s: float) -> None:
    labels = (("vm", book.vm), ("disk", disk), ("operation", operation))
    counts = tuple(itertools.accumulate(latency.bins))
    book.families["disk_latency_seconds"].histograms.append(Histogram(labels, _bounds(latency.boundaries_ns), counts, sum_s))


@lru_cache(16)
def _bounds(boundaries_ns: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(str(bound_ns / 1e9) for bound_ns in boundaries_ns)


def add_kvm(book: Book, sample: GuestSample, now_s: float) -> None:
    """KVM's counters, and the balloon."""
    book.add("balloon_bytes", sample.balloon_bytes)
    kvm = sample.kvm
    if not kvm:
        return
    book.add("kvm_sample_age_seconds", now_s - sample.kvm_at_s)
    for name, told in _COUNTERS:
        book.add(name, kvm.get(told))
    for cause, told in _CAUSES:
        book.add("kvm_exits_by_cause_total", kvm.get(told), cause=cause)
    book.add("kvm_halted_seconds_total", _seconds(kvm, "halt_wait_ns"))
    book.add("kvm_polled_seconds_total", _seconds(kvm, "halt_poll_success_ns"), helped="yes")
    book.add("kvm_polled_seconds_total", _seconds(kvm, "halt_poll_fail_ns"), helped="no")
    for size, told in _PAGES:
        book.add("kvm_mapped_pages", kvm.get(told), page_size_bytes=size)


def _seconds(kvm: Mapping[str, int], name: str) -> float | None:
    return kvm[name] / 1e9 if name in kvm else None


def add_nics(book: Book, vm: VmState, links: Mapping[str, LinkCounters]) -> None:
    """Its nics: the tap receives what the guest sends."""
    for nic in vm.run.plan.nics if vm.run.plan is not None else ():
        link = links.get(nic.tap)
        if link is None:
            continue
        for direction, sent_bytes, packets, dropped in (
            ("sent", link.rx_bytes, link.rx_packets, link.rx_dropped),
            ("received", link.tx_bytes, link.tx_packets, link.tx_dropped),
        ):
            book.add("nic_bytes_total", sent_bytes, nic=nic.nic_id, direction=direction)
            book.add("nic_packets_total", packets, nic=nic.nic_id, direction=direction)
            book.add("nic_dropped_total", dropped, nic=nic.nic_id, direction=direction)
