"""Networks and disks as planned against what the kernel and QEMU tell: taps on their bridges, queues, aio, iothreads.

Strategy: what only QEMU knows (which iothread serves a disk, which nodes it has) comes from its monitor and is None while that
is silent. How a disk's requests travel is nothing that QEMU tells: it is read from what each way leaves behind in the process.
QEMU 7.2 sets these up when it opens an image, newer ones with the first request: a disk that nobody has used yet shows nothing.
Source: block/file-posix.c of QEMU 7.2 (raw_aio_attach_aio_context) and of 10.0 (raw_check_linux_aio, raw_check_linux_io_uring:
both say in the log that they fall back), block/linux-aio.c, block/io_uring.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.natural import natural
from qsup.plan.vmplan import DiskPlan, NicPlan, VmPlan
from qsup.truth.link_facts import LinkFacts

DeviceVerdict = Literal["ok", "drift", "unknown"]
SILENT = "QEMU does not answer"
UNUSED = "no request has come yet: with the first one it shows how they travel"


@frozen
class AioFacts:
    """What the ways of asynchronous I/O leave behind in a process.

    `native_contexts` counts its libaio contexts, `uring_contexts` its io_uring descriptors; None: not readable, and
    `problem` may say why. `fell_back` is the line of QEMU's log in which it says that it took the thread pool instead; None
    where there is none.
    """

    native_contexts: int | None = None
    uring_contexts: int | None = None
    fell_back: str | None = None
    problem: str | None = None


@frozen
class DiskAnswers:
    """QEMU's word: the block nodes with their drivers; each disk's iothread and reads and writes.

    An iothread is empty where the main loop serves the disk, and as `served_by` writes it where its queues are shared out.
    """

    drivers: Mapping[str, str] = field(factory=dict)
    iothreads: Mapping[str, str] = field(factory=dict)
    requests: Mapping[str, int] = field(factory=dict)


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
    return tuple(_disk_row(disk, aio, answers) for disk in plan.disks)


def _disk_row(disk: DiskPlan, aio: AioFacts, answers: DiskAnswers | None) -> DiskRow:
    requests = answers.requests.get(disk.disk_id) if answers is not None else None
    in_force = aio_in_force(disk.aio, aio, requests)
    unused = in_force is None and requests == 0
    iothread = answers.iothreads.get(disk.disk_id) if answers is not None else None
    planned = _planned_server(disk)
    notes = []
    if in_force is not None and in_force != disk.aio:
        notes.append(aio.fell_back or f"nothing in the process shows {disk.aio}: the thread pool serves it")
    if iothread is not None and iothread != planned:
        notes.append(f"{iothread or 'the main loop'} serves it, not {planned or 'the main loop'}")
    if answers is not None:
        notes += _node_notes(disk, answers)
    known = (in_force is not None or unused) and iothread is not None
    verdict: DeviceVerdict = "drift" if notes else "ok" if known else "unknown"
    return DiskRow(
        disk=disk.disk_id,
        path=disk.chain[0].path,
        cache=disk.cache,
        aio=disk.aio,
        aio_in_force=in_force,
        iothread=planned,
        iothread_in_force=iothread,
        verdict=verdict,
        note="; ".join(notes) or _note_of_nothing_wrong(known, unused, aio, answers),
    )


def _planned_server(disk: DiskPlan) -> str:
    return served_by((one.iothread_id, one.queues) for one in disk.queue_threads) or disk.iothread_id or ""


def served_by(mapping: Iterable[tuple[str, Iterable[int]]]) -> str:
    """Which iothread serves which queues of a disk, in one order whoever tells it."""
    parts = sorted(mapping, key=lambda one: natural(one[0]))
    return " ".join(f"{iothread}:{format_cpulist(queues)}" for iothread, queues in parts)


def _note_of_nothing_wrong(known: bool, unused: bool, aio: AioFacts, answers: DiskAnswers | None) -> str:
    if known:
        return UNUSED if unused else ""
    whys = [SILENT] if answers is None else []
    return "; ".join(whys + ([aio.problem] if aio.problem else [])) or "the kernel or QEMU does not tell"


def aio_in_force(planned: str, aio: AioFacts, requests: int | None) -> str | None:
    """How a disk's requests travel; None where it cannot be told, as before the first request.

    A process that has served requests and has neither a libaio context nor an io_uring did so by its thread pool, whatever
    was asked.
    """
    if planned == "threads" or aio.fell_back is not None:
        return "threads"
    contexts = aio.native_contexts if planned == "native" else aio.uring_contexts
    if contexts:
        return planned
    return None if contexts is None or not requests else "threads"


def _node_notes(disk: DiskPlan, answers: DiskAnswers) -> list[str]:
    driver = answers.drivers.get(f"{disk.disk_id}.0")
    if driver is None:
        return [f"QEMU has no node {disk.disk_id}.0"]
    return [] if driver == disk.chain[0].format else [f"QEMU reads it as {driver}, not {disk.chain[0].format}"]
