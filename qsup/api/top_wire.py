"""A frame of `qsup top` as JSON, with the names of `supervisor/top_view.py`.

Written out by hand: it is made each second for every VM, and a generic converter takes three times as long. What is None stays
away in rates and threads, which are most of the bytes; rates are whole numbers, or have three digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from qsup.supervisor.top_view import DiskRates, NicRates, QemuRates, TopFrame, TopThread, TopVm
from qsup.truth.wait import ThreadWait

Json = dict[str, object]

_KEPT_ANSWERS = 1024

_DISK = ("read_bytes", "written_bytes", "reads", "writes", "flushes", "read_ms", "write_ms", "failed")
_NIC = ("sent_bytes", "received_bytes", "sent_packets", "received_packets", "dropped")


def top_json(frame: TopFrame) -> Json:
    """One moment."""
    value: Json = {
        "at_s": round(frame.at_s, 3),
        "span_s": _share(frame.span_s),
        "blamed": frame.blamed,
        "settled": frame.settled,
        "steal_share": _share(frame.steal_share),
        "vms": [_vm(vm) for vm in frame.vms],
        "waiting": [{"vm": vm, **_wait(thread)} for vm, thread in frame.waiting],
    }
    if frame.threads is not None:
        value["threads"] = [_thread(thread) for thread in frame.threads]
    return value


def _vm(vm: TopVm) -> Json:
    return {
        "name": vm.name,
        "phase": vm.phase,
        "phase_since_s": vm.phase_since_s,
        "pid": vm.pid,
        "silent_s": _share(vm.silent_s),
        "vcpus": vm.vcpus,
        "memory_bytes": vm.memory_bytes,
        "page_size_bytes": vm.page_size_bytes,
        "page_sizes_bytes": list(vm.page_sizes_bytes),
        "placement": vm.placement,
        "host_nodes": list(vm.host_nodes),
        "drifting": vm.drifting,
        "repairs": vm.repairs,
        "local_percent": vm.memory.local_percent,
        "misplaced_bytes": vm.memory.misplaced_bytes,
        "memory_counted_at_s": vm.memory.counted_at_s,
        "run_share": _share(vm.run_share),
        "ready_share": _share(vm.ready_share),
        "throttled_share": _share(vm.throttled_share),
        "skew_share": _share(vm.skew_share),
        "worst": _wait(vm.worst) if vm.worst is not None else None,
        "nics": [_nic(nic) for nic in vm.nics],
        "qemu": _qemu(vm.qemu) if vm.qemu is not None else None,
    }


@lru_cache(_KEPT_ANSWERS)
def _qemu(told: QemuRates) -> Json:
    """Kept, since a QEMU is not asked every second; nobody changes it."""
    return {
        "told_at_s": round(told.told_at_s, 3),
        "span_s": _share(told.span_s),
        "disks": [_disk(disk) for disk in told.disks],
        "exits": {name: _rate(rate) for name, rate in told.exits.items()},
    }


def _disk(disk: DiskRates) -> Json:
    return {"disk": disk.disk, **_rates(disk, _DISK)}


def _nic(nic: NicRates) -> Json:
    return {"nic": nic.nic, "bridge": nic.bridge, **_rates(nic, _NIC)}


def _rates(row: object, names: Iterable[str]) -> Json:
    return {name: _rate(rate) for name in names if (rate := getattr(row, name)) is not None}


def _thread(thread: TopThread) -> Json:
    value: Json = {
        "role": thread.role,
        "thread_class": thread.thread_class,
        "tid": thread.tid,
        "name": thread.name,
        "pin": thread.pin,
        "affinity": thread.affinity,
        "verdict": thread.verdict,
    }
    return value if thread.wait is None else {**value, **_wait(thread.wait)}


def _wait(thread: ThreadWait) -> Json:
    """A thread as `/v1/wait` shows it."""
    return {
        "role": thread.role,
        "thread_class": thread.thread_class,
        "tid": thread.tid,
        "pcpu": thread.pcpu,
        "run_share": _share(thread.run_share),
        "ready_share": _share(thread.ready_share),
        "throttled_share": _share(thread.throttled_share),
        "unknown_share": _share(thread.unknown_share),
        "unknown_why": thread.unknown_why,
        "blame": [{"who": item.who, "share": _share(item.share)} for item in thread.blame],
        "involuntary": thread.involuntary,
    }


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _rate(value: float) -> float:
    """Whole from a hundred on: nobody reads the rest, and it is half of the bytes."""
    return round(value) if value >= 100 else round(value, 3)
