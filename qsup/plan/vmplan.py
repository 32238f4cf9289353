"""VmPlan: where everything of one VM will sit, decided. Everything that argv, process and host need stands in it."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.errors import Problem


@frozen
class VcpuPlan:
    """One vCPU: its guest topology ids, its guest node, and its pin (never empty)."""

    vcpu_index: int
    socket: int
    core: int
    thread: int
    guest_node: int
    pin: frozenset[int]


@frozen
class IothreadPlan:
    """One iothread: its QEMU object id, its pin (never empty), and the host nodes that it works for (empty: the VM's)."""

    iothread_id: str
    pin: frozenset[int]
    host_nodes: tuple[int, ...] = ()


@frozen
class GuestNodePlan:
    """One guest NUMA node and its memory backend.

    `host_nodes` empty means no binding. `distances` has one entry per guest node (position = guest node).
    `pages` is the count of hugepages taken from each host node (empty for base pages).
    `base_bytes` is the memory taken from each host node in base pages: the guest's (empty with hugepages) and this node's
    part of QEMU's own overhead.
    `prealloc_pcpus` are the pCPUs of the host nodes, where the preallocation threads run; no other VM owns them, except
    where a node has no others.
    """

    guest_node: int
    vcpus: tuple[int, ...]
    size_bytes: int
    host_nodes: tuple[int, ...]
    policy: Literal["default", "bind", "preferred", "interleave"]
    page_size_bytes: int
    hugepages: bool
    prealloc: bool
    distances: tuple[int, ...]
    pages: tuple[tuple[int, int], ...] = ()
    prealloc_pcpus: frozenset[int] = frozenset()
    base_bytes: tuple[tuple[int, int], ...] = ()


@frozen
class PoolGrowth:
    """`count` pages by which the pool of a host node must grow before the launch."""

    host_node: int
    page_size_bytes: int
    count: int


@frozen
class ImagePlan:
    """One file of a disk's chain, top first. Only the top one may be written. `file_id` is as in ImageFacts.

    A block device has another driver in QEMU.
    """

    path: str
    format: Literal["qcow2", "raw"]
    readonly: bool
    file_id: str | None = None
    block_device: bool = False


@frozen
class QueueThread:
    """The queues of a disk that one iothread serves, counted from 0."""

    iothread_id: str
    queues: tuple[int, ...]


@frozen
class DiskPlan:
    """One disk. `pci_slot` is the device number on pcie.0 (or pci.0).

    `queue_threads` shares out the disk's queues, one a vCPU, over several iothreads (of which `iothread_id` is the first);
    empty where one iothread serves them all.
    """

    disk_id: str
    chain: tuple[ImagePlan, ...]
    readonly: bool
    cache: str
    aio: str
    discard: str
    iothread_id: str | None
    pci_slot: int
    serial: str | None
    boot_index: int
    queue_threads: tuple[QueueThread, ...] = ()


@frozen
class NicPlan:
    """One nic. `tap` has at most 15 characters. `worker_pin` is the pin of its vhost workers (never empty).

    `host_nodes` are those that its workers belong beside (empty: all of the VM's).
    """

    nic_id: str
    bridge: str
    create_bridge: bool
    tap: str
    mac: str
    queues: int
    mtu: int | None
    vhost: bool
    pci_slot: int
    worker_pin: frozenset[int]
    boot_index: int | None = None
    host_nodes: tuple[int, ...] = ()


@frozen
class BootPlan:
    """How the guest starts. `uefi_vars` is the VM's own copy in the state directory; `uefi_vars_template` its origin."""

    bios: str | None = None
    uefi_code: str | None = None
    uefi_vars: str | None = None
    uefi_vars_template: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None


@frozen
class PathsPlan:
    """Where the VM's files lie; all absolute. The sockets' paths fit sockaddr_un (107 bytes)."""

    run_dir: str
    qmp_socket: str
    telemetry_socket: str
    console_socket: str
    launch_record: str
    log_dir: str
    serial_log: str
    stderr_log: str
    state_dir: str


SupportSet = Literal["housekeeping", "own", "beside"]


@frozen
class SupportSets:
    """Where QEMU's other threads were asked to be. Own pCPUs stay; the other sets follow what they name."""

    emulator: SupportSet = "housekeeping"
    iothreads: SupportSet = "housekeeping"
    vhost: SupportSet = "housekeeping"


_HOUSEKEEPING = SupportSets()


@frozen
class VmPlan:
    """The decision for one VM.

    `machine` is the versioned machine type. `uid` None: QEMU runs as the daemon's own user. `emulator` is the pin of the
    process (main thread, worker pool and all threads that appear later); `emulator_asked`: it was written in the file, so it
    does not follow the housekeeping pCPUs. `rng_pci_slot` holds virtio-rng: disks and nics keep out of it. `emptied` are the
    siblings that an isolated VM keeps free of everybody. `overhead_bytes` is what QEMU itself may take besides guest memory
    (counted in `base_bytes`). `shared_vcpus` are those of a dedicated or isolated VM that float over the pool.
    `support_pcpus` belong to this VM's emulator, iothreads or vhost workers alone; `sets` says where these were asked to be.
    `realtime_priority` (SCHED_FIFO) is that of the vCPUs that do not float; None: the ordinary scheduler.
    `warnings` are things asked for that work otherwise than one may think.
    """

    name: str
    uuid: str
    qemu: str
    machine: str
    accel: Literal["kvm", "tcg"]
    cpu_model: str
    sockets: int
    cores: int
    threads: int
    placement: Literal["dedicated", "isolated", "shared", "pinned"]
    vcpus: tuple[VcpuPlan, ...]
    emulator: frozenset[int]
    iothreads: tuple[IothreadPlan, ...]
    guest_nodes: tuple[GuestNodePlan, ...]
    pool_growth: tuple[PoolGrowth, ...]
    disks: tuple[DiskPlan, ...]
    nics: tuple[NicPlan, ...]
    boot: BootPlan
    serial: bool
    log_bytes: int
    paths: PathsPlan
    uid: int | None = None
    rng_pci_slot: int = 30
    warnings: tuple[Problem, ...] = field(default=())
    emptied: frozenset[int] = frozenset()
    emulator_asked: bool = False
    overhead_bytes: int = 0
    shared_vcpus: frozenset[int] = frozenset()
    support_pcpus: frozenset[int] = frozenset()
    sets: SupportSets = _HOUSEKEEPING
    realtime_priority: int | None = None

    @property
    def memory_bytes(self) -> int:
        """Guest memory of all guest nodes together."""
        return sum(node.size_bytes for node in self.guest_nodes)

    @property
    def realtime_vcpus(self) -> frozenset[int]:
        """The vCPUs that run with real-time priority."""
        return frozenset(range(len(self.vcpus))) - self.floating if self.realtime_priority is not None else frozenset()

    @property
    def floating(self) -> frozenset[int]:
        """The vCPUs that float over the shared pool."""
        return frozenset(range(len(self.vcpus))) if self.placement == "shared" else self.shared_vcpus
