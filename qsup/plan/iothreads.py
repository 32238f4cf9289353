"""Iothreads: which threads serve each disk's requests, and on which of the VM's nodes.

Strategy: a guest of one node has one iothread per disk. A guest of several nodes has it on the node of the image's hardware,
where that is one of the VM's, else the disks take turns over the nodes. Where QEMU can share out the queues of one disk, such
a guest has one iothread per disk and guest node instead: virtio-blk has a queue for each vCPU, and each is served on the node
of the vCPU that fills it.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.layout import Layout
from qsup.plan.vmplan import QueueThread
from qsup.spec.disk import DiskSpec


@frozen
class IothreadSeat:
    """One iothread: its id, the host nodes whose guest memory it works for, and the queues that are its own (none: all)."""

    iothread_id: str
    host_nodes: tuple[int, ...]
    queues: tuple[int, ...] = ()


def iothread_seats(case: Case, layout: Layout | None) -> tuple[tuple[IothreadSeat, ...], ...]:
    """For each disk its iothreads; none for a disk without, several only where the queues are shared out."""
    return tuple(_seats(case, layout, position, disk) for position, disk in enumerate(case.spec.disks))


def _seats(case: Case, layout: Layout | None, position: int, disk: DiskSpec) -> tuple[IothreadSeat, ...]:
    if not disk.iothread:
        return ()
    name = f"io-disk{position}"
    homes = () if layout is None else tuple(share.host_nodes for share in layout.shares)
    if layout is None or len(homes) == 1:
        return (IothreadSeat(name, homes[0] if homes else ()),)
    if case.disk_queue_threads:
        return _by_node(name, homes, [share.vcpus for share in layout.shares])
    image = case.facts.images.get(disk.path)
    near = [home for home in homes if image is not None and image.host_node in home]
    return (IothreadSeat(name, near[0] if near else homes[position % len(homes)]),)


def _by_node(name: str, homes: Sequence[tuple[int, ...]], vcpus: Sequence[tuple[int, ...]]) -> tuple[IothreadSeat, ...]:
    """Queues are numbered along the guest nodes, as Linux spreads them over its CPUs (lib/group_cpus.c)."""
    seats: list[IothreadSeat] = []
    first = 0
    for node, (home, count) in enumerate(zip(homes, map(len, vcpus), strict=True)):
        if count:
            seats.append(IothreadSeat(f"{name}.{node}", home, tuple(range(first, first + count))))
        first += count
    return tuple(seats)


def queue_threads(seats: Sequence[IothreadSeat]) -> tuple[QueueThread, ...]:
    """How the disk's queues are shared out; empty where one iothread serves them all."""
    return tuple(QueueThread(seat.iothread_id, seat.queues) for seat in seats if seat.queues)


def nic_nodes(case: Case, layout: Layout | None) -> tuple[tuple[int, ...], ...]:
    """For each nic the host nodes beside which its workers belong: that of the bridge's hardware, where the VM has it."""
    homes = tuple(sorted({node for share in layout.shares for node in share.host_nodes})) if layout else ()
    bridges = (case.facts.bridges.get(nic.bridge) for nic in case.spec.nics)
    under = [None if bridge is None else bridge.host_node for bridge in bridges]
    return tuple(homes if node is None or node not in homes else (node,) for node in under)
