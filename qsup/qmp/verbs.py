"""The commands that qsup uses, each with its types and its default deadline.

Strategy: every function here runs exactly one QMP command of `session.execute`, named in its docstring when its own name
differs, and raises what that raises. A reply of the wrong shape raises QmpRefused of class "qsup.MalformedReply". A verb
that only returns None ignores what QEMU returned.
"""

from __future__ import annotations

from collections.abc import Mapping

from qsup.qmp.results import (
    BlockCounters,
    BlockFrontend,
    BlockNode,
    CpuModel,
    IothreadThread,
    KvmStatus,
    MachineType,
    MemoryBackend,
    MemorySize,
    QemuVersion,
    QueueMapping,
    RunStatus,
    VcpuThread,
)
from qsup.qmp.session import QmpSession
from qsup.qmp.shapes import Shape

QUERY_TIMEOUT_S = 10.0
# what changes the machine may wait for its I/O: cont opens images, stop drains them
CHANGE_TIMEOUT_S = 30.0


async def _shape(session: QmpSession, command: str, timeout_s: float, arguments: Mapping[str, object] | None = None) -> Shape:
    return Shape(command, await session.execute(command, arguments, timeout_s=timeout_s))


async def query_status(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> RunStatus:
    """QEMU's RunState."""
    return RunStatus.of(await _shape(session, "query-status", timeout_s))


async def query_cpus_fast(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[VcpuThread, ...]:
    """The vCPUs, ordered by vcpu_index, no index twice; does not interrupt the guest.

    Just after the greeting there may be fewer than the machine will have: ask again.
    """
    shape = await _shape(session, "query-cpus-fast", timeout_s)
    vcpus = sorted((VcpuThread.of(row) for row in shape.rows()), key=lambda vcpu: vcpu.vcpu_index)
    if len({vcpu.vcpu_index for vcpu in vcpus}) != len(vcpus):
        shape.refuse("each cpu-index once")
    return tuple(vcpus)


async def query_iothreads(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[IothreadThread, ...]:
    """The iothreads, in QEMU's order."""
    return tuple(IothreadThread.of(row) for row in (await _shape(session, "query-iothreads", timeout_s)).rows())


async def query_memdev(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[MemoryBackend, ...]:
    """The memory backends, in QEMU's order."""
    return tuple(MemoryBackend.of(row) for row in (await _shape(session, "query-memdev", timeout_s)).rows())


async def query_memory_size_summary(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> MemorySize:
    """The guest's memory in bytes."""
    return MemorySize.of(await _shape(session, "query-memory-size-summary", timeout_s))


async def query_kvm(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> KvmStatus:
    """Whether KVM is there and used."""
    return KvmStatus.of(await _shape(session, "query-kvm", timeout_s))


async def query_machines(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[MachineType, ...]:
    """The machine types of this binary, in QEMU's order."""
    return tuple(MachineType.of(row) for row in (await _shape(session, "query-machines", timeout_s)).rows())


async def query_cpu_definitions(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[CpuModel, ...]:
    """The CPU models of this binary; what is unavailable depends on the accelerator this QEMU runs with."""
    return tuple(CpuModel.of(row) for row in (await _shape(session, "query-cpu-definitions", timeout_s)).rows())


async def query_block(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[BlockFrontend, ...]:
    """The guest's disks with their error state."""
    return tuple(BlockFrontend.of(row) for row in (await _shape(session, "query-block", timeout_s)).rows())


async def query_blockstats(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[BlockCounters, ...]:
    """The counters of the guest's disks (not of the nodes below them)."""
    return tuple(BlockCounters.of(row) for row in (await _shape(session, "query-blockstats", timeout_s)).rows())


async def query_named_block_nodes(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> tuple[BlockNode, ...]:
    """All nodes of the block graph, flat: a backing image is a row of its own, not repeated inside the others."""
    shape = await _shape(session, "query-named-block-nodes", timeout_s, {"flat": True})
    return tuple(BlockNode.of(row) for row in shape.rows())


async def query_version(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> QemuVersion:
    """QEMU's version; the greeting holds the same."""
    return QemuVersion.of(await _shape(session, "query-version", timeout_s))


async def query_qmp_schema(session: QmpSession, *, timeout_s: float = CHANGE_TIMEOUT_S) -> list[object]:
    """The QAPI schema as QEMU sends it: a list of type descriptions that refer to each other by name."""
    shape = await _shape(session, "query-qmp-schema", timeout_s)
    return [row.value for row in shape.rows()]


async def qom_list_types(session: QmpSession, *, timeout_s: float = QUERY_TIMEOUT_S) -> frozenset[str]:
    """The names of all QOM types that can be made, devices and backends among them."""
    shape = await _shape(session, "qom-list-types", timeout_s)
    return frozenset(row.at("name").text() for row in shape.rows())


async def device_list_properties(session: QmpSession, typename: str, *, timeout_s: float = QUERY_TIMEOUT_S) -> frozenset[str]:
    """The names of a device type's properties."""
    shape = await _shape(session, "device-list-properties", timeout_s, {"typename": typename})
    return frozenset(row.at("name").text() for row in shape.rows())


async def qom_get(session: QmpSession, path: str, name: str, *, timeout_s: float = QUERY_TIMEOUT_S) -> object:
    """A property of a QOM object, as QEMU sends it: not checked."""
    return await session.execute("qom-get", {"path": path, "property": name}, timeout_s=timeout_s)


async def iothread_vq_mapping(
    session: QmpSession, path: str, *, timeout_s: float = QUERY_TIMEOUT_S
) -> tuple[QueueMapping, ...]:
    """How the disk at this QOM path shares out its queues ("qom-get"), in QEMU's order; refused before QEMU 9.0."""
    arguments = {"path": path, "property": "iothread-vq-mapping"}
    return tuple(QueueMapping.of(row) for row in (await _shape(session, "qom-get", timeout_s, arguments)).rows())


async def human_monitor_command(session: QmpSession, text: str, *, timeout_s: float = CHANGE_TIMEOUT_S) -> str:
    """Run a line of the human monitor; what it prints is for eyes, its lines end with CR LF. Errors are printed, too."""
    shape = await _shape(session, "human-monitor-command", timeout_s, {"command-line": text})
    return shape.text()


async def cont(session: QmpSession, *, timeout_s: float = CHANGE_TIMEOUT_S) -> None:
    """Let the vCPUs run."""
    await session.execute("cont", timeout_s=timeout_s)


async def stop(session: QmpSession, *, timeout_s: float = CHANGE_TIMEOUT_S) -> None:
    """Stop the vCPUs; returns once the disks are drained."""
    await session.execute("stop", timeout_s=timeout_s)


async def system_powerdown(session: QmpSession, *, timeout_s: float = CHANGE_TIMEOUT_S) -> None:
    """Press the guest's power button; returns at once, the guest may take its time or do nothing."""
    await session.execute("system_powerdown", timeout_s=timeout_s)


async def system_reset(session: QmpSession, *, timeout_s: float = CHANGE_TIMEOUT_S) -> None:
    """Press the guest's reset button."""
    await session.execute("system_reset", timeout_s=timeout_s)


async def quit_(session: QmpSession, *, timeout_s: float = CHANGE_TIMEOUT_S) -> None:
    """End QEMU ("quit"), without a word to the guest.

    Returning means that QEMU has agreed, not that it is gone. A QmpLost `qmp.closed` says that the connection ended first,
    which is what a QEMU that was quitting anyway does: the process' own end decides.
    """
    await session.execute("quit", timeout_s=timeout_s)


async def add_fd(session: QmpSession, fd: int, *, fdset_id: int, timeout_s: float = QUERY_TIMEOUT_S) -> int:
    """Put a descriptor into QEMU's set `/dev/fdset/FDSET_ID` ("add-fd"); returns its number inside QEMU."""
    arguments = {"fdset-id": fdset_id}
    shape = Shape("add-fd", await session.execute("add-fd", arguments, timeout_s=timeout_s, fds=(fd,)))
    if shape.at("fdset-id").count() != fdset_id:
        shape.refuse(f"fdset-id {fdset_id}")
    return shape.at("fd").count()


async def getfd(session: QmpSession, fd: int, *, name: str, timeout_s: float = QUERY_TIMEOUT_S) -> None:
    """Give QEMU a descriptor by name, for `netdev_add` and the like."""
    await session.execute("getfd", {"fdname": name}, timeout_s=timeout_s, fds=(fd,))
