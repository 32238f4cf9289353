"""Exhaustive search: the cheapest seat of a VM on a small host, by trying all of them.

Every set of host nodes for the memory, every number of guest cores on each node, every set of free pCPUs for them; judged by
`penalty.py`. It knows the promises (docs/placement.md), not the planner: a VM larger than one node gets a guest node for each,
vCPUs stay with their memory wherever any arrangement allows it, a running shared VM keeps a pool pCPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from qsup.bytesize import MIB
from qsup.plan.host_facts import HostNodeFacts
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan
from qsup.spec.vmspec import VmSpec
from tests.plan.penalty import Machine, load_penalty, node_penalty, set_penalty
from tests.plan.weights import POINTS

Costs = Mapping[int, Sequence[int | None]]


def best_penalty(
    machine: Machine, policy: HostPolicy, running: Sequence[VmPlan], spec: VmSpec, devices: Sequence[int]
) -> int | None:
    """The fewest points with which the VM can be placed; None where it cannot."""
    sets = dict(_memory_sets(machine, policy, running, spec))
    if spec.cpu.placement == "shared":
        return _best_shared(machine, sets, spec, devices)
    total = spec.cpu.vcpus // spec.cpu.threads
    homes = {one.host_node for one in machine.online.values()}
    costs = {node: _seat_costs(machine, running, spec, node, total) for node in homes}
    local = [
        set_penalty(machine, nodes, grows=grows, devices=devices) + points
        for nodes, grows in sets.items()
        for points in [_cheapest(costs, nodes, total)]
        if points is not None
    ]
    return min(local) if local else _best_remote(machine, sets, spec, devices, costs, total)


def _best_shared(
    machine: Machine, sets: Mapping[tuple[int, ...], bool], spec: VmSpec, devices: Sequence[int]
) -> int | None:
    if not machine.pool:
        return None
    served = {machine.node_of(pcpu) for pcpu in machine.pool}
    local = {nodes: grows for nodes, grows in sets.items() if served & set(nodes)}
    asked = spec.memory.host_nodes
    if asked is not None and asked & {one.host_node for one in machine.online.values()} and not asked & served:
        return None
    points = [
        set_penalty(machine, nodes, grows=grows, devices=devices) + load_penalty(machine, nodes, spec.cpu.vcpus)
        for nodes, grows in local.items()
    ]
    return min(points) if points else (-1 if sets else None)


def _best_remote(
    machine: Machine,
    sets: Mapping[tuple[int, ...], bool],
    spec: VmSpec,
    devices: Sequence[int],
    costs: Costs,
    total: int,
) -> int | None:
    """vCPUs away from their memory: only where nothing else is possible; not at all where the file names host nodes."""
    asked = spec.memory.host_nodes
    open_nodes = tuple(node for node in costs if asked is None or node in asked or not asked & costs.keys())
    found = []
    for nodes, grows in sets.items():
        way = {node: min(machine.distance(home, node) for home in nodes) - 10 for node in open_nodes}
        far = {node: POINTS["remote"] * spec.cpu.threads * distance for node, distance in way.items()}
        points = _cheapest(costs, open_nodes, total, far)
        if points is not None:
            found.append(points + set_penalty(machine, nodes, grows=grows, devices=devices))
    return min(found, default=None)


def _cheapest(costs: Costs, nodes: Sequence[int], total: int, far: Mapping[int, int] | None = None) -> int | None:
    """The cheapest way to spread `total` guest cores over the nodes.

    Local ones are to be even; for remote ones `far` has the points of each guest core on a node.
    """
    share = -(-total // len(nodes))
    best: dict[int, int] = {0: 0}
    for node in nodes:
        after: dict[int, int] = {}
        for done, points in best.items():
            for count, cost in enumerate(costs.get(node, [0])):
                if cost is not None and done + count <= total:
                    more = points + cost
                    more += POINTS["uneven"] * max(0, count - share) if far is None else count * far[node]
                    after[done + count] = min(after.get(done + count, more), more)
        best = after
    return best.get(total)


def _memory_sets(
    machine: Machine, policy: HostPolicy, running: Sequence[VmPlan], spec: VmSpec
) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Sets of host nodes that can hold the memory, each giving a part, and whether a pool must grow for it."""
    asked = spec.memory.host_nodes
    nodes = [node for node in machine.facts.nodes if node.memory_total_bytes and (asked is None or node.host_node in asked)]
    for count in range(1, len(nodes) + 1):
        for some in combinations(nodes, count):
            rooms = [_room(policy, running, spec, node, _overhead_part(machine, spec, count)) for node in some]
            unit = spec.memory.hugepages_bytes or MIB
            now, grown = [room // unit for room, _ in rooms], [room // unit for _, room in rooms]
            needed = spec.memory.size_bytes // unit
            if all(grown) and sum(grown) >= needed >= count:
                yield tuple(node.host_node for node in some), not _evenly_fits(now, grown, needed)


def _evenly_fits(now: Sequence[int], grown: Sequence[int], needed: int) -> bool:
    """Whether the parts, as even as the nodes can give them, lie within what is there without growing."""
    left, parts = needed, [0] * len(grown)
    order = sorted(range(len(grown)), key=lambda at: (grown[at], -at))
    for done, at in enumerate(order):
        parts[at] = min(grown[at], left // (len(order) - done))
        left -= parts[at]
    return all(part <= there for part, there in zip(parts, now, strict=True))


def _overhead_part(machine: Machine, spec: VmSpec, count: int) -> int:
    """QEMU's own memory on the fullest of `count` nodes (docs/placement.md, "QEMU's own memory"); no disks here."""
    page = spec.memory.hugepages_bytes or 4096
    total = 64 * MIB + 8 * MIB * spec.cpu.vcpus + MIB * len(spec.nics) + 16 * (spec.memory.size_bytes // page)
    return -(-(-(-total // 4096) * 4096) // count)


def _room(
    policy: HostPolicy, running: Sequence[VmPlan], spec: VmSpec, node: HostNodeFacts, overhead: int
) -> tuple[int, int]:
    """Guest memory that the node gives without and with growing its pool."""
    promised: Counter[int] = Counter()
    grown: Counter[int] = Counter()
    base = node.memory_free_bytes - policy.reserved_memory_on(node.host_node) - overhead
    for guest in (guest for plan in running for guest in plan.guest_nodes):
        base -= sum(size for at, size in guest.base_bytes if at == node.host_node)
        promised[guest.page_size_bytes] += sum(count for at, count in guest.pages if at == node.host_node)
    for growth in (growth for plan in running for growth in plan.pool_growth if growth.host_node == node.host_node):
        base -= growth.count * growth.page_size_bytes
        grown[growth.page_size_bytes] += growth.count
    page = spec.memory.hugepages_bytes
    if base < 0:
        return 0, 0
    if page is None:
        return base, base
    free = max(0, next(pool.free for pool in node.pools if pool.page_size_bytes == page) + grown[page] - promised[page])
    return free * page, (free + (base // page if policy.grow_hugepages else 0)) * page


def _seat_costs(machine: Machine, running: Sequence[VmPlan], spec: VmSpec, node: int, total: int) -> list[int | None]:
    """The fewest points of 0, 1, … guest cores on the node; None where it does not take so many."""
    free = sorted(pcpu for pcpu, one in machine.online.items() if one.host_node == node and pcpu not in machine.taken)
    costs: list[int | None] = [0]
    for count in range(1, total + 1):
        seats = _seats(machine, spec, free, count)
        legal = (seat for seat in seats if _leaves_the_pool(machine, running, spec, seat))
        costs.append(min((node_penalty(machine, seat, whole=_isolated(spec)) for seat in legal), default=None))
    return costs


def _isolated(spec: VmSpec) -> bool:
    return spec.cpu.placement == "isolated" or spec.cpu.smt == "isolate"


def _seats(machine: Machine, spec: VmSpec, free: Sequence[int], count: int) -> Iterator[list[tuple[int, ...]]]:
    """All ways to put `count` guest cores on these pCPUs, but for the order of guest cores."""
    threads = spec.cpu.threads
    if _isolated(spec):
        whole = [_first_of(machine, core) for core in {machine.online[pcpu].core for pcpu in free}]
        whole = [pcpu for pcpu in whole if machine.members[machine.online[pcpu].core] <= set(free)]
        for some in combinations(sorted(whole), count * threads):
            yield [some[at : at + threads] for at in range(0, len(some), threads)]
        return
    for some in combinations(free, count * threads):
        seat = _paired(machine, some, threads)
        if spec.cpu.smt != "require" or all(len({machine.online[pcpu].core for pcpu in one}) == 1 for one in seat):
            yield seat


def _first_of(machine: Machine, core: int) -> int:
    """The pCPU of a core that is taken whole: an isolated one is of no use to the pool."""
    return min(machine.members[core], key=lambda pcpu: (not machine.online[pcpu].isolated, pcpu))


def _paired(machine: Machine, pcpus: Sequence[int], threads: int) -> list[tuple[int, ...]]:
    """The pCPUs as guest cores, with as many whole ones on one host core as there can be."""
    by_core: dict[int, list[int]] = {}
    for pcpu in pcpus:
        by_core.setdefault(machine.online[pcpu].core, []).append(pcpu)
    whole = [tuple(own[at : at + threads]) for own in by_core.values() for at in range(0, len(own) - threads + 1, threads)]
    used = {pcpu for one in whole for pcpu in one}
    rest = [pcpu for pcpu in pcpus if pcpu not in used]
    return [*whole, *(tuple(rest[at : at + threads]) for at in range(0, len(rest), threads))]


def _leaves_the_pool(
    machine: Machine, running: Sequence[VmPlan], spec: VmSpec, seat: Sequence[Sequence[int]]
) -> bool:
    """Whether a running shared VM of the node keeps a pCPU to float on."""
    taken = {pcpu for one in seat for pcpu in one}
    if _isolated(spec):
        taken = {pcpu for one in taken for pcpu in machine.members[machine.online[one].core]}
    node = machine.node_of(next(iter(taken)))
    floats = any(
        node in guest.host_nodes and guest.vcpus for plan in running if plan.placement == "shared" for guest in plan.guest_nodes
    )
    local = {pcpu for pcpu in machine.pool if machine.node_of(pcpu) == node}
    return not floats or not local or bool(local - taken)
