"""What is cut through, counted from pins alone, by one judge for both planners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import frozen

from qsup.plan.host_facts import HostFacts
from tests.bench.nova_sides import Placed


@frozen
class Splits:
    """Sums over VMs.

    `cross_node`: host nodes of a VM, of its pCPUs and its memory, beyond the first. `guest_cores`: guest cores whose threads
    lie on several host cores. `host_cores`: host cores that nobody else had, and of which a VM took a part. `l3`: L3 groups
    of the pCPUs beyond the first on each host node. `distance`: for each pair of a VM's host nodes the distance beyond local.
    """

    cross_node: int = 0
    guest_cores: int = 0
    host_cores: int = 0
    l3: int = 0
    distance: int = 0

    def __add__(self, other: Splits) -> Splits:
        return Splits(
            self.cross_node + other.cross_node,
            self.guest_cores + other.guest_cores,
            self.host_cores + other.host_cores,
            self.l3 + other.l3,
            self.distance + other.distance,
        )

    @property
    def cross_core(self) -> int:
        """Both kinds."""
        return self.guest_cores + self.host_cores


def splits_of(facts: HostFacts, placed: Iterable[Placed]) -> Splits:
    """The splits of VMs that came one after another."""
    taken: set[int] = set()
    total = Splits()
    for one in placed:
        total += _of_one(facts, one, taken)
        taken |= _occupied(facts, one)
    return total


def faults_of(facts: HostFacts, placed: Iterable[Placed]) -> list[str]:
    """Broken rules: a pCPU given twice, or one that is not there, or a number of pins that is not that of the vCPUs."""
    taken: set[int] = set()
    faults: list[str] = []
    for one in placed:
        occupied = _occupied(facts, one)
        if len(set(one.pins)) != one.request.vcpus or occupied & taken or not occupied <= facts.index.online:
            faults.append(f"{one.request.name} has the pCPUs {one.pins}")
        taken |= occupied
    return faults


def _occupied(facts: HostFacts, one: Placed) -> set[int]:
    pins = frozenset(one.pins)
    return set(facts.index.siblings(pins) if one.request.thread_policy == "isolate" else pins)


def _of_one(facts: HostFacts, one: Placed, taken: set[int]) -> Splits:
    index = facts.index
    nodes = sorted({*one.nodes, *(index.node_of[pcpu] for pcpu in one.pins)})
    threads = one.request.threads
    guest_cores = [one.pins[first : first + threads] for first in range(0, len(one.pins), threads)]
    used = Counter(index.core_of[pcpu] for pcpu in one.pins)
    broken = [core for core, count in used.items() if count < len(index.cores[core]) and taken.isdisjoint(index.cores[core])]
    groups = {(index.node_of[pcpu], index.l3_of_core[index.core_of[pcpu]]) for pcpu in one.pins}
    return Splits(
        cross_node=len(nodes) - 1,
        guest_cores=sum(len({index.core_of[pcpu] for pcpu in core}) > 1 for core in guest_cores),
        host_cores=0 if one.request.thread_policy == "isolate" else len(broken),
        l3=len(groups) - len({node for node, _ in groups}),
        distance=_far(facts, nodes),
    )


def _far(facts: HostFacts, nodes: Sequence[int]) -> int:
    pairs = ((a, b) for at, a in enumerate(nodes) for b in nodes[at + 1 :])
    return sum(facts.index.distance(a, b) - 10 for a, b in pairs)
