"""Layout: which guest node gets which vCPUs, how much memory, and from which host nodes."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from qsup.plan.memory_room import MemoryRoom, split_evenly

Amounts = tuple[tuple[int, int], ...]


@frozen
class Share:
    """One guest node. `memory`, `overhead` (bytes) and `growth` (pages) are pairs of (host node, amount).

    `home` are the host nodes where its vCPUs belong (the same as the memory's, unless nothing else is possible).
    """

    vcpus: tuple[int, ...]
    memory: Amounts
    overhead: Amounts
    growth: Amounts

    @property
    def size_bytes(self) -> int:
        """Guest memory of the node."""
        return sum(amount for _, amount in self.memory)

    @property
    def host_nodes(self) -> tuple[int, ...]:
        """The host nodes that give memory, ascending."""
        return tuple(sorted(node for node, amount in self.memory if amount))


@frozen
class Layout:
    """All guest nodes, position = guest node. `stray_nodes`: where vCPUs may go when the nodes of their memory are full.

    `cost`: the points that speak against it, where it was searched for.
    """

    shares: tuple[Share, ...]
    stray_nodes: tuple[int, ...]
    cost: int = 0


def share_on(
    room: MemoryRoom, nodes: Sequence[int], vcpus: tuple[int, ...], size_bytes: int, overhead_bytes: int
) -> Share | None:
    """A guest node whose memory lies on `nodes`, as evenly as they can give it; None where it does not fit."""
    overhead = tuple(zip(nodes, even_parts(overhead_bytes, len(nodes)), strict=True))
    caps = tuple(room.capacities((node,), part)[0] for node, part in overhead)
    units = split_evenly(size_bytes // room.unit_bytes, caps)
    if units is None or not any(units):
        return None
    memory = tuple((node, count * room.unit_bytes) for node, count in zip(nodes, units, strict=True) if count)
    return Share(vcpus, memory, overhead, _growth(room, memory))


def share_falling_over(
    room: MemoryRoom, nodes: Sequence[int], vcpus: tuple[int, ...], size_bytes: int, overhead_bytes: int
) -> Share | None:
    """A guest node that takes what it can from the first of `nodes`, the rest from the following; None where all are short.

    The overhead comes from the first node that has as much in base pages.
    """
    payer = next((node for node in nodes if room.nodes[node].base_bytes >= overhead_bytes), None)
    if payer is None:
        return None
    left = size_bytes // room.unit_bytes
    memory: list[tuple[int, int]] = []
    for node in nodes:
        part = min(left, room.capacities((node,), overhead_bytes if node == payer else 0)[0])
        left -= part
        if part:
            memory.append((node, part * room.unit_bytes))
    if left or not memory:
        return None
    return Share(vcpus, tuple(memory), ((payer, overhead_bytes),), _growth(room, tuple(memory)))


def room_after(room: MemoryRoom, share: Share) -> MemoryRoom:
    """What the host has left beside this share."""
    overhead = dict(share.overhead)
    for node, size_bytes in share.memory:
        room = room.less(node, size_bytes, overhead.pop(node, 0))
    for node, overhead_bytes in overhead.items():
        room = room.less(node, 0, overhead_bytes)
    return room


def even_parts(total: int, count: int) -> tuple[int, ...]:
    """`total` in `count` parts that differ by one at most; their sum is `total`."""
    return split_evenly(total, (total,) * count) or (0,) * count


def _growth(room: MemoryRoom, memory: Amounts) -> Amounts:
    pairs = ((node, room.nodes[node].growth_for(size_bytes)) for node, size_bytes in memory)
    return tuple((node, count) for node, count in pairs if count)
