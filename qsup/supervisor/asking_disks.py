"""What QEMU says of its disks when somebody verifies: their nodes, who serves them, and whether anybody has used them."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.plan.vmplan import DiskPlan
from qsup.qmp import verbs
from qsup.qmp.session import QmpSession
from qsup.supervisor.guest_stats import disk_id_of
from qsup.truth.devices import DiskAnswers, served_by

ASK_TIMEOUT_S = 3.0


async def ask_disks(session: QmpSession, disks: Sequence[DiskPlan]) -> DiskAnswers:
    """Ask for all of them. Without disks QEMU is asked for its state, which tells whether it answers.

    Raises:
        QmpLost, QmpRefused: no usable answer.

    Touches: QMP query-named-block-nodes, qom-get, query-blockstats; query-status.
    """
    if not disks:
        await verbs.query_status(session, timeout_s=ASK_TIMEOUT_S)
        return DiskAnswers()
    nodes = await verbs.query_named_block_nodes(session, timeout_s=ASK_TIMEOUT_S)
    drivers = {node.node_name: node.driver for node in nodes if node.node_name is not None}
    iothreads = {disk.disk_id: await _server_of(session, disk) for disk in disks}
    counters = await verbs.query_blockstats(session, timeout_s=ASK_TIMEOUT_S)
    requests = {disk_id: row.read_operations + row.write_operations for row in counters if (disk_id := disk_id_of(row))}
    return DiskAnswers(drivers, iothreads, requests)


async def _server_of(session: QmpSession, disk: DiskPlan) -> str:
    path = f"/machine/peripheral/{disk.disk_id}"
    if disk.queue_threads:
        mapping = await verbs.iothread_vq_mapping(session, path, timeout_s=ASK_TIMEOUT_S)
        if mapping:
            return served_by((row.iothread, row.vqs) for row in mapping)
    told = await verbs.qom_get(session, path, "iothread", timeout_s=ASK_TIMEOUT_S)
    return str(told).rpartition("/")[2]
