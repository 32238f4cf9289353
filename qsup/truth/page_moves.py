"""Which pages of a backend must move where, batch by batch, and what became of them."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from qsup.bytesize import MIB, format_byte_size
from qsup.cpuset import format_cpulist
from qsup.truth.memory import MemoryRow

BATCH_BYTES = 32 * MIB
BATCH_PAGES = 1024


@frozen
class Moves:
    """Pages by address, each with the node where it belongs (same positions)."""

    addresses: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()


@frozen
class MoveTally:
    """How many pages were moved and how many could not be, those by errno."""

    moved: int = 0
    failed: Mapping[int, int] = field(factory=dict)

    def plus(self, other: MoveTally) -> MoveTally:
        """Both together."""
        return MoveTally(self.moved + other.moved, dict(Counter(self.failed) + Counter(other.failed)))


@frozen
class Unmoved:
    """Pages that stay where they are: how many bytes, why, and what helps."""

    size_bytes: int
    reason: str
    hint: str


@frozen
class BackendMended:
    """What a repair did to one backend."""

    backend: str
    moved_bytes: int
    unmoved: tuple[Unmoved, ...] = ()


@frozen
class MemoryMended:
    """What a repair of a VM's memory did; `took_s` is its wall time."""

    vm: str
    backends: tuple[BackendMended, ...]
    took_s: float


def batches_of(row: MemoryRow) -> Iterator[range]:
    """The addresses of all pages of a backend, ascending, in batches; none where its mapping is unknown."""
    if row.start is None:
        return
    page_bytes = row.page_size_in_force_bytes or row.page_size_bytes
    step = page_bytes * max(1, min(BATCH_PAGES, BATCH_BYTES // page_bytes))
    end = row.start + row.size_bytes
    for begin in range(row.start, end, step):
        yield range(begin, min(begin + step, end), page_bytes)


def moves_of(addresses: Sequence[int], nodes: Sequence[int], wanted: Sequence[int], page_bytes: int) -> Moves:
    """The pages that are on another node than a wanted one; where several are wanted, they are dealt out in turn.

    Args:
        nodes: where each page is; negative where none is.
        wanted: the planned nodes, ascending.
    """
    away = [address for address, node in zip(addresses, nodes, strict=True) if node >= 0 and node not in wanted]
    if not wanted:
        return Moves()
    return Moves(tuple(away), tuple(wanted[address // page_bytes % len(wanted)] for address in away))


def tally_of(moves: Moves, status: Sequence[int], after: Sequence[int], wanted: Sequence[int]) -> MoveTally:
    """What became of the pages: `status` as the move told, `after` where each page is now."""
    failed = Counter(
        -state if state < 0 else errno.EBUSY
        for state, node in zip(status, after, strict=True)
        if node >= 0 and node not in wanted
    )
    return MoveTally(sum(node in wanted for node in after), dict(failed))


def mended_of(row: MemoryRow, tally: MoveTally) -> BackendMended:
    """The tally of one backend in words."""
    page_bytes = row.page_size_in_force_bytes or row.page_size_bytes
    unmoved = tuple(
        Unmoved(count * page_bytes, *_why(number, row, page_bytes)) for number, count in sorted(tally.failed.items())
    )
    return BackendMended(row.backend, tally.moved * page_bytes, unmoved)


def _why(number: int, row: MemoryRow, page_bytes: int) -> tuple[str, str]:
    nodes = format_cpulist(row.host_nodes)
    size = format_byte_size(page_bytes)
    reasons = {
        errno.ENOMEM: (f"node {nodes} has no free page of {size}", _room_hint(row, size, nodes)),
        errno.EBUSY: ("the kernel or a device holds them", "try again; pages that a device has mapped never move"),
        errno.EACCES: ("another process maps them as well", "end what shares this memory, or restart the VM"),
    }
    return reasons.get(number, (f"the kernel says {errno.errorcode.get(number, str(number))}", "try again, or restart the VM"))


def _room_hint(row: MemoryRow, size: str, nodes: str) -> str:
    if row.page_size_bytes >= MIB:
        return f"add pages of {size} to the pool of node {nodes} (nr_hugepages), then repair again"
    return f"make room on node {nodes}, then repair again"
