"""What QEMU says of its disks when somebody verifies: their nodes, who serves them, and whether anybody has used them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from qsup.errors import QmpRefused
from qsup.plan.vmplan import DiskPlan
from qsup.qmp import verbs
from qsup.qmp.session import QmpSession
from qsup.supervisor.guest_stats import disk_id_of
from qsup.truth.devices import DiskAnswers, served_by

ASK_TIMEOUT_S = 3.0


async def ask_disks(session: QmpSession, disks: Sequence[DiskPlan]) -> DiskAnswers:
    """Ask for all of them. What QEMU refuses to tell is missing, and what it concerns says so.

    Without disks QEMU is asked for its state, which tells whether it answers.

    Raises:
        QmpLost: it does not answer.

    Touches: QMP query-named-block-nodes, qom-get, query-blockstats; query-status.
    """
    if not disks:
        with suppress(QmpRefused):
            await verbs.query_status(session, timeout_s=ASK_TIMEOUT_S)
        return DiskAnswers()
    refused: dict[str, str] = {}
    iothreads: dict[str, str] = {}
    try:
        drivers = await _drivers(session)
    except QmpRefused as refusal:
        drivers, refused = None, _for_all(disks, refusal)
    for disk in disks:
        try:
            iothreads[disk.disk_id] = await _server_of(session, disk)
        except QmpRefused as refusal:
            refused |= _for_all([disk], refusal)
    try:
        requests = await _requests(session)
    except QmpRefused as refusal:
        requests, refused = {}, _for_all(disks, refusal) | refused
    return DiskAnswers(drivers, iothreads, requests, refused)


def _for_all(disks: Iterable[DiskPlan], refusal: QmpRefused) -> dict[str, str]:
    return {disk.disk_id: refusal.message for disk in disks}


async def _drivers(session: QmpSession) -> Mapping[str, str]:
    nodes = await verbs.query_named_block_nodes(session, timeout_s=ASK_TIMEOUT_S)
    return {node.node_name: node.driver for node in nodes if node.node_name is not None}


async def _requests(session: QmpSession) -> Mapping[str, int]:
    counters = await verbs.query_blockstats(session, timeout_s=ASK_TIMEOUT_S)
    return {disk_id: row.read_operations + row.write_operations for row in counters if (disk_id := disk_id_of(row))}


async def _server_of(session: QmpSession, disk: DiskPlan) -> str:
    path = f"/machine/peripheral/{disk.disk_id}"
    if disk.queue_threads:
        mapping = await verbs.iothread_vq_mapping(session, path, timeout_s=ASK_TIMEOUT_S)
        if mapping:
            return served_by((row.iothread, row.vqs) for row in mapping)
    told = await verbs.qom_get(session, path, "iothread", timeout_s=ASK_TIMEOUT_S)
    return str(told).rpartition("/")[2]
