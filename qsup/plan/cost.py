"""Cost: what speaks against a seat, in points. The planner takes the cheapest that it finds; docs/placement.md has the table.

The weights say what is given up for what: a vCPU away from its memory for nearly anything, a second host node for a handful of
split guest cores or L3 groups, and so on down to points that only break ties between seats that are otherwise alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from qsup.plan.host_index import HostIndex

REMOTE: Final = 20  # per vCPU and unit of SLIT distance beyond local to its memory
NODE: Final = 100  # per host node beyond the first
DISTANCE: Final = 1  # per pair of the VM's host nodes and unit of SLIT distance beyond local
UNEVEN: Final = 3  # per guest core on a host node beyond its even share
GROWTH: Final = 10  # a hugepage pool must grow
SPLIT: Final = 12  # per guest core whose threads lie on several host cores though the host has cores for them
L3: Final = 6  # per L3 group beyond the first, on each host node
DEVICE: Final = 4  # per disk and nic whose hardware is on no host node of the VM
EFFICIENT: Final = 3  # per vCPU on an efficient core of a hybrid processor
FIRST: Final = 3  # per vCPU on the first core of a host too small to set it aside
BROKEN: Final = 2  # per whole host core of which a part is taken
NEIGHBOUR: Final = 1  # per vCPU on a host core that somebody else owns a part of
POOL: Final = 1  # per pCPU taken from the shared pool while as many isolated ones stay unused on the same host node
LOAD_MOST: Final = 9  # shared: a point per vCPU and pool pCPU of its nodes, at most these

_LOCAL = 10


def nodes_cost(host: HostIndex, nodes: Sequence[int], *, grows: bool) -> int:
    """What a set of host nodes costs by itself."""
    far = sum(host.distance(one, other) - _LOCAL for at, one in enumerate(nodes) for other in nodes[at + 1 :])
    return NODE * (len(nodes) - 1) + DISTANCE * far + GROWTH * grows


def uneven_cost(counts: Sequence[int]) -> int:
    """`counts`: the guest cores on each host node."""
    share = -(-sum(counts) // max(1, len(counts)))
    return UNEVEN * sum(max(0, count - share) for count in counts)


def devices_cost(devices: Iterable[int], nodes: Sequence[int]) -> int:
    """`devices`: the host node of each disk and nic where it is known."""
    return DEVICE * sum(device not in nodes for device in devices)


def load_cost(load: int, pcpus: int) -> int:
    """Shared: `load` vCPUs float over `pcpus`, this VM's included."""
    return min(LOAD_MOST, load // max(1, pcpus))


def cores_cost(
    host: HostIndex,
    seat: Sequence[Sequence[int]],
    *,
    free: Mapping[int, Sequence[int]],
    clean: frozenset[int],
    whole: bool,
    last: frozenset[int],
) -> int:
    """What the pCPUs on one host node cost.

    Args:
        host: the host.
        seat: for each guest core its pCPUs.
        free: what each host core of the node offers before it is taken.
        clean: the host cores that nobody else has a part of.
        whole: each vCPU takes its host core whole.
        last: the first core of a small host.
    """
    pcpus = {pcpu for guest_core in seat for pcpu in guest_core}
    if not pcpus:
        return 0
    taken: dict[int, int] = {}
    for pcpu in pcpus:
        taken[host.core_of[pcpu]] = taken.get(host.core_of[pcpu], 0) + 1
    cost = _pool_cost(host, pcpus, free) + L3 * (len({host.l3_of_core[core] for core in taken}) - 1)
    cost += sum(_core_cost(host, core, count, clean, last) for core, count in taken.items())
    if whole:
        return cost
    broken = sum(core in clean and count < len(host.cores[core]) for core, count in taken.items())
    split = sum(len({host.core_of[pcpu] for pcpu in guest_core}) > 1 for guest_core in seat)
    forced = len(seat[0]) > host.threads
    return cost + BROKEN * broken + (0 if forced else SPLIT * split)


def _core_cost(host: HostIndex, core: int, count: int, clean: frozenset[int], last: frozenset[int]) -> int:
    each = EFFICIENT * (core in host.efficient_cores) + FIRST * (core in last) + NEIGHBOUR * (core not in clean)
    return count * each


def _pool_cost(host: HostIndex, taken: Collection[int], free: Mapping[int, Sequence[int]]) -> int:
    if not host.isolated:
        return 0
    pooled = sum(pcpu not in host.isolated for pcpu in taken)
    unused = sum(pcpu in host.isolated and pcpu not in taken for left in free.values() for pcpu in left)
    return POOL * min(pooled, unused)
