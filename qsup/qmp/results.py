"""What the queries return. Names follow QEMU's (qapi/*.json, 7.2), units stand in names.

All of it is QEMU's word: a thread id in particular is a claim, to be checked against /proc/PID/task before use.
"""

from __future__ import annotations

from attrs import frozen

from qsup.qmp.shapes import Shape


@frozen
class RunStatus:
    """QEMU's RunState: `status` as QEMU spells it, such as "prelaunch" or "io-error"."""

    status: str
    running: bool

    @classmethod
    def of(cls, shape: Shape) -> RunStatus:
        return cls(shape.at("status").text(), shape.at("running").flag())


@frozen
class VcpuThread:
    """A vCPU with its host thread; the ids of its place are those of the guest's topology, None where it has no such level."""

    vcpu_index: int
    thread_id: int
    qom_path: str
    socket_id: int | None
    die_id: int | None
    core_id: int | None
    sibling_id: int | None
    guest_node: int | None

    @classmethod
    def of(cls, shape: Shape) -> VcpuThread:
        place = shape.member("props") or Shape(shape.command, {})
        return cls(
            vcpu_index=shape.at("cpu-index").count(),
            thread_id=shape.at("thread-id").count(),
            qom_path=shape.at("qom-path").text(),
            socket_id=place.count_at("socket-id"),
            die_id=place.count_at("die-id"),
            core_id=place.count_at("core-id"),
            sibling_id=place.count_at("thread-id"),
            guest_node=place.count_at("node-id"),
        )


@frozen
class IothreadThread:
    """An iothread object with its host thread."""

    id: str
    thread_id: int

    @classmethod
    def of(cls, shape: Shape) -> IothreadThread:
        return cls(shape.at("id").text(), shape.at("thread-id").count())


@frozen
class QueueMapping:
    """The queues of a disk that one iothread serves; none where QEMU deals them out in turn.

    Source: QEMU 9.0, qapi/virtio.json, IOThreadVirtQueueMapping.
    """

    iothread: str
    vqs: tuple[int, ...]

    @classmethod
    def of(cls, shape: Shape) -> QueueMapping:
        vqs = shape.member("vqs")
        return cls(shape.at("iothread").text(), () if vqs is None else vqs.counts())


@frozen
class MemoryBackend:
    """A memory-backend object; `policy` is "default", "preferred", "bind" or "interleave"."""

    id: str | None
    size_bytes: int
    prealloc: bool
    share: bool
    policy: str
    host_nodes: frozenset[int]

    @classmethod
    def of(cls, shape: Shape) -> MemoryBackend:
        return cls(
            id=shape.text_at("id"),
            size_bytes=shape.at("size").count(),
            prealloc=shape.at("prealloc").flag(),
            share=shape.flag_at("share"),
            policy=shape.at("policy").text(),
            host_nodes=frozenset(row.count() for row in shape.at("host-nodes").rows()),
        )


@frozen
class MemorySize:
    """The guest's memory: what it began with, and what was plugged since."""

    base_bytes: int
    plugged_bytes: int

    @classmethod
    def of(cls, shape: Shape) -> MemorySize:
        return cls(shape.at("base-memory").count(), shape.count_at("plugged-memory") or 0)


@frozen
class KvmStatus:
    """Is KVM compiled in, and does this machine use it?"""

    present: bool
    enabled: bool

    @classmethod
    def of(cls, shape: Shape) -> KvmStatus:
        return cls(shape.at("present").flag(), shape.at("enabled").flag())


@frozen
class MachineType:
    """A machine type of this binary."""

    name: str
    alias: str | None
    is_default: bool
    deprecated: bool
    vcpus_max: int

    @classmethod
    def of(cls, shape: Shape) -> MachineType:
        return cls(
            name=shape.at("name").text(),
            alias=shape.text_at("alias"),
            is_default=shape.flag_at("is-default"),
            deprecated=shape.flag_at("deprecated"),
            vcpus_max=shape.at("cpu-max").count(),
        )


@frozen
class CpuModel:
    """A CPU model; `unavailable_features` is what this host and accelerator lack for it, None when QEMU does not say."""

    name: str
    typename: str
    deprecated: bool
    unavailable_features: frozenset[str] | None

    @classmethod
    def of(cls, shape: Shape) -> CpuModel:
        missing = shape.member("unavailable-features")
        return cls(
            name=shape.at("name").text(),
            typename=shape.at("typename").text(),
            deprecated=shape.flag_at("deprecated"),
            unavailable_features=None if missing is None else frozenset(row.text() for row in missing.rows()),
        )


@frozen
class BlockFrontend:
    """A disk as the guest's device sees it; `qdev` is its QOM path or id, `node_name` None when the tray is empty.

    `device` is the name of a -drive, empty for disks made by -blockdev.

    `io_status` is "ok", "failed" or "nospace", None when the device does not report errors.
    """

    device: str
    qdev: str | None
    node_name: str | None
    io_status: str | None
    read_only: bool

    @classmethod
    def of(cls, shape: Shape) -> BlockFrontend:
        inserted = shape.member("inserted")
        return cls(
            device=shape.at("device").text(),
            qdev=shape.text_at("qdev"),
            node_name=None if inserted is None else inserted.text_at("node-name"),
            io_status=shape.text_at("io-status"),
            read_only=False if inserted is None else inserted.flag_at("ro"),
        )


@frozen
class LatencyHistogram:
    """How many operations took how long: `bins` has one more than `boundaries_ns`, which are upper bounds (exclusive)."""

    boundaries_ns: tuple[int, ...]
    bins: tuple[int, ...]

    @classmethod
    def of(cls, shape: Shape | None) -> LatencyHistogram | None:
        if shape is None:
            return None
        found = cls(shape.at("boundaries").counts(), shape.at("bins").counts())
        if len(found.bins) != len(found.boundaries_ns) + 1:
            shape.refuse("one bin more than boundaries")
        return found


@frozen
class BlockCounters:
    """A disk's counters since QEMU began; times are sums over operations, which overlap.

    The histograms count since they were asked for; None: never.
    """

    qdev: str | None
    node_name: str | None
    read_bytes: int
    read_operations: int
    read_time_ns: int
    written_bytes: int
    write_operations: int
    write_time_ns: int
    flush_operations: int
    flush_time_ns: int
    failed_operations: int
    read_latency: LatencyHistogram | None = None
    write_latency: LatencyHistogram | None = None
    flush_latency: LatencyHistogram | None = None

    @classmethod
    def of(cls, shape: Shape) -> BlockCounters:
        stats = shape.at("stats")
        failed = ("failed_rd_operations", "failed_wr_operations", "failed_flush_operations", "failed_unmap_operations")
        return cls(
            qdev=shape.text_at("qdev"),
            node_name=shape.text_at("node-name"),
            read_bytes=stats.at("rd_bytes").count(),
            read_operations=stats.at("rd_operations").count(),
            read_time_ns=stats.at("rd_total_time_ns").count(),
            written_bytes=stats.at("wr_bytes").count(),
            write_operations=stats.at("wr_operations").count(),
            write_time_ns=stats.at("wr_total_time_ns").count(),
            flush_operations=stats.at("flush_operations").count(),
            flush_time_ns=stats.at("flush_total_time_ns").count(),
            failed_operations=sum(stats.count_at(key) or 0 for key in failed),
            read_latency=LatencyHistogram.of(stats.member("rd_latency_histogram")),
            write_latency=LatencyHistogram.of(stats.member("wr_latency_histogram")),
            flush_latency=LatencyHistogram.of(stats.member("flush_latency_histogram")),
        )


@frozen
class BlockNode:
    """A node of the block graph; `filename` is QEMU's description, a path only for plain files.

    `actual_bytes` is what the image occupies, None when the protocol cannot say.
    """

    node_name: str | None
    driver: str
    filename: str
    read_only: bool
    virtual_bytes: int
    actual_bytes: int | None

    @classmethod
    def of(cls, shape: Shape) -> BlockNode:
        image = shape.at("image")
        return cls(
            node_name=shape.text_at("node-name"),
            driver=shape.at("drv").text(),
            filename=shape.at("file").text(),
            read_only=shape.at("ro").flag(),
            virtual_bytes=image.at("virtual-size").count(),
            actual_bytes=image.count_at("actual-size"),
        )


@frozen
class QemuVersion:
    """QEMU's version as (major, minor, micro) and its packager's text."""

    version: tuple[int, int, int]
    package: str

    @classmethod
    def of(cls, shape: Shape) -> QemuVersion:
        numbers = shape.at("qemu")
        version = (numbers.at("major").count(), numbers.at("minor").count(), numbers.at("micro").count())
        return cls(version, shape.at("package").text())
