"""What `qsup top` shows of a moment, published: one row a VM, the threads that wait, and the threads of the VM looked at.

Rates are None while they are not known; shares are of wall time; times are Unix seconds. The API only reads these.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from qsup.truth.wait import ThreadWait


@frozen
class DiskRates:
    """A disk, each second; `read_ms`, `write_ms`: how long one operation took on average."""

    disk: str
    read_bytes: float | None = None
    written_bytes: float | None = None
    reads: float | None = None
    writes: float | None = None
    flushes: float | None = None
    read_ms: float | None = None
    write_ms: float | None = None
    failed: float | None = None


@frozen
class NicRates:
    """A nic, each second, as the guest sees it: `sent` by the guest, `received` by it; drops are the tap's, both ways."""

    nic: str
    bridge: str
    sent_bytes: float | None = None
    received_bytes: float | None = None
    sent_packets: float | None = None
    received_packets: float | None = None
    dropped: float | None = None


@frozen(eq=False)
class QemuRates:
    """What its QEMU told: disks, and exits by kind, each second. `told_at_s` is the newest answer's moment.

    The same object until it tells something new.
    """

    told_at_s: float
    span_s: float | None = None
    disks: tuple[DiskRates, ...] = ()
    exits: Mapping[str, float] = field(factory=dict)


@frozen
class TopMemory:
    """Where the pages were when they were counted last. `local_percent` None: not bound, or not counted."""

    local_percent: float | None = None
    misplaced_bytes: int = 0
    counted_at_s: float | None = None


@frozen
class TopVm:
    """One VM. `run_share` is that of all its threads together, 1 being a whole pCPU.

    `worst` is the vCPU that waited most; its share is `ready_share`.
    """

    name: str
    phase: str
    phase_since_s: float
    pid: int | None
    silent_s: float | None
    vcpus: int | None
    memory_bytes: int | None
    page_size_bytes: int | None
    page_sizes_bytes: tuple[int, ...]
    placement: str | None
    host_nodes: tuple[int, ...]
    drifting: int
    repairs: int
    memory: TopMemory
    nics: tuple[NicRates, ...] = ()
    qemu: QemuRates | None = None
    run_share: float | None = None
    ready_share: float | None = None
    throttled_share: float | None = None
    skew_share: float | None = None
    worst: ThreadWait | None = None


@frozen
class TopThread:
    """One thread of the VM that is looked at: where it belongs, where it is, and what it did (None: nothing was seen)."""

    role: str
    thread_class: str
    tid: int | None
    name: str
    pin: str
    affinity: str
    verdict: str
    wait: ThreadWait | None = None


@frozen
class TopFrame:
    """One moment. `span_s` None: nothing has been sampled yet.

    `settled`: everybody was asked often enough to have rates, or too many are asked in turn to wait for all. `waiting`: the
    threads that waited most, worst first, with their VMs' names. `threads` only where one VM is looked at.
    """

    at_s: float
    span_s: float | None
    blamed: bool
    settled: bool
    steal_share: float | None
    vms: tuple[TopVm, ...]
    waiting: tuple[tuple[str, ThreadWait], ...] = ()
    threads: tuple[TopThread, ...] | None = None
