"""Networks and disks as planned against what the kernel and QEMU tell: taps on their bridges, queues, aio, iothreads.

Strategy: what only QEMU knows (which iothread serves a disk, which nodes it has) comes from its monitor and is None while that
is silent. How a disk's requests travel is nothing that QEMU tells: `disk_aio` judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.natural import natural
from qsup.plan.vmplan import DiskPlan, NicPlan, VmPlan
from qsup.truth.disk_aio import AioFacts, AioSeen, aio_seen
from qsup.truth.link_facts import LinkFacts

DeviceVerdict = Literal["ok", "drift", "unknown"]
SILENT = "QEMU does not answer"


@frozen
class DiskAnswers:
    """QEMU's word: the block nodes with their drivers; each disk's iothread and reads and writes.

    An iothread is empty where the main loop serves the disk, and as `served_by` writes it where its queues are shared out.
    `refused`: what QEMU said where it refused to tell something of a disk, which is missing then; without nodes there are no
    `drivers`.
    """

    drivers: Mapping[str, str] | None = field(factory=dict)
    iothreads: Mapping[str, str] = field(factory=dict)
    requests: Mapping[str, int] = field(factory=dict)
    refused: Mapping[str, str] = field(factory=dict)


@frozen
class NicRow:
    """One nic, planned against seen; what was not seen is None. `vhost_workers` counts those of the whole VM."""

    nic: str
    tap: str
    bridge: str
    bridge_in_force: str | None
    mtu: int | None
    mtu_in_force: int | None
    queues: int
    queues_in_force: int | None
    vhost: bool
    vhost_workers: int | None
    verdict: DeviceVerdict
    note: str = ""


@frozen
class DiskRow:
    """One disk, planned against seen. iothreads: the empty text is QEMU's main loop, None is unknown.

    Shared out queues have several iothreads, each with its queues: "io-disk0.0:0-3 io-disk0.1:4-7".
    """

    disk: str
    path: str
    cache: str
    aio: str
    aio_in_force: str | None
    iothread: str
    iothread_in_force: str | None
    verdict: DeviceVerdict
    note: str = ""


def nic_rows(plan: VmPlan, links: Mapping[str, LinkFacts] | None, vhost_workers: int) -> tuple[NicRow, ...]:
    """One row a nic. `links` None: the kernel did not tell them."""
    enough = vhost_workers >= sum(nic.queues for nic in plan.nics if nic.vhost)
    return tuple(_nic_row(nic, links, vhost_workers, enough) for nic in plan.nics)


def _nic_row(nic: NicPlan, links: Mapping[str, LinkFacts] | None, workers: int, enough: bool) -> NicRow:
    tap = links.get(nic.tap) if links is not None else None
    bridge = links.get(nic.bridge) if links is not None else None
    mtu = nic.mtu if nic.mtu is not None else bridge.mtu if bridge is not None else None
    notes = [] if links is None else [f"there is no tap {nic.tap}"] if tap is None else _tap_notes(nic, tap, mtu)
    if nic.vhost and not enough:
        notes.append(f"the VM has {workers} vhost workers, not one a queue")
    verdict: DeviceVerdict = "drift" if notes else "unknown" if links is None else "ok"
    return NicRow(
        nic=nic.nic_id,
        tap=nic.tap,
        bridge=nic.bridge,
        bridge_in_force=tap.bridge if tap is not None else None,
        mtu=mtu,
        mtu_in_force=tap.mtu if tap is not None else None,
        queues=nic.queues,
        queues_in_force=tap.queues if tap is not None else None,
        vhost=nic.vhost,
        vhost_workers=workers if nic.vhost else None,
        verdict=verdict,
        note="; ".join(notes) or ("the links could not be read" if links is None else ""),
    )


def _tap_notes(nic: NicPlan, tap: LinkFacts, mtu: int | None) -> list[str]:
    notes = []
    if tap.bridge != nic.bridge:
        notes.append(f"{nic.tap} is a port of {tap.bridge or 'no bridge'}, not of {nic.bridge}")
    if mtu is not None and tap.mtu != mtu:
        notes.append(f"its MTU is {tap.mtu}, not {mtu}")
    if tap.queues is not None and tap.queues != nic.queues:
        notes.append(f"it has {tap.queues} open queues, not {nic.queues}")
    if not tap.up:
        notes.append(f"{nic.tap} is down")
    return notes


def disk_rows(plan: VmPlan, aio: AioFacts, answers: DiskAnswers | None) -> tuple[DiskRow, ...]:
    """One row a disk. `answers` None: QEMU does not answer."""
    requests = answers.requests if answers is not None else None
    return tuple(_disk_row(disk, aio_seen(disk, plan.disks, aio, requests), answers) for disk in plan.disks)


def _disk_row(disk: DiskPlan, aio: AioSeen, answers: DiskAnswers | None) -> DiskRow:
    iothread = answers.iothreads.get(disk.disk_id) if answers is not None else None
    notes = _disk_drifts(disk, aio, iothread, answers)
    told = iothread is not None and answers is not None and answers.drivers is not None
    known = told and (aio.in_force is not None or aio.unused)
    verdict: DeviceVerdict = "drift" if notes else "ok" if known else "unknown"
    refusals = [answers.refused[disk.disk_id]] if answers is not None and disk.disk_id in answers.refused else []
    if verdict == "ok":
        notes = [aio.note] if aio.unused else []
    elif verdict == "drift":
        notes += refusals
    else:
        notes = _whys_unknown(aio, refusals if answers is not None else [SILENT])
    return DiskRow(
        disk=disk.disk_id,
        path=disk.chain[0].path,
        cache=disk.cache,
        aio=disk.aio,
        aio_in_force=aio.in_force,
        iothread=_planned_server(disk),
        iothread_in_force=iothread,
        verdict=verdict,
        note="; ".join(notes),
    )


def _disk_drifts(disk: DiskPlan, aio: AioSeen, iothread: str | None, answers: DiskAnswers | None) -> list[str]:
    notes = [aio.note] if aio.in_force is not None and aio.in_force != disk.aio else []
    planned = _planned_server(disk)
    if iothread is not None and iothread != planned:
        notes.append(f"{iothread or 'the main loop'} serves it, not {planned or 'the main loop'}")
    if answers is not None and answers.drivers is not None:
        notes += _node_notes(disk, answers.drivers)
    return notes


def _whys_unknown(aio: AioSeen, qemus: list[str]) -> list[str]:
    kernels = [aio.note] if aio.in_force is None and aio.note and not aio.unused else []
    return [*qemus, *kernels] or ["the kernel or QEMU does not tell"]


def _planned_server(disk: DiskPlan) -> str:
    return served_by((one.iothread_id, one.queues) for one in disk.queue_threads) or disk.iothread_id or ""


def served_by(mapping: Iterable[tuple[str, Iterable[int]]]) -> str:
    """Which iothread serves which queues of a disk, in one order whoever tells it."""
    parts = sorted(mapping, key=lambda one: natural(one[0]))
    return " ".join(f"{iothread}:{format_cpulist(queues)}" for iothread, queues in parts)


def _node_notes(disk: DiskPlan, drivers: Mapping[str, str]) -> list[str]:
    driver = drivers.get(f"{disk.disk_id}.0")
    if driver is None:
        return [f"QEMU has no node {disk.disk_id}.0"]
    return [] if driver == disk.chain[0].format else [f"QEMU reads it as {driver}, not {disk.chain[0].format}"]
