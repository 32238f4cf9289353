"""An independent judge of how good a seat is: points that speak against a plan, counted from the plan alone.

The weights are those that docs/placement.md promises. Nothing here knows how the planner searches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from qsup.plan.host_facts import HostFacts, PcpuFacts
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan
from tests.plan.weights import POINTS


@frozen
class Machine:
    """The host and who holds what of it, before the VM in question came."""

    facts: HostFacts
    online: Mapping[int, PcpuFacts]
    members: Mapping[int, frozenset[int]]
    taken: frozenset[int]
    pool: frozenset[int]
    load: Mapping[int, int]

    @staticmethod
    def of(facts: HostFacts, policy: HostPolicy, running: Iterable[VmPlan]) -> Machine:
        """`taken` are the pCPUs that no new vCPU may own, `pool` those where shared vCPUs may float."""
        online = {one.pcpu: one for one in facts.pcpus if one.online}
        members: dict[int, set[int]] = {}
        for one in online.values():
            members.setdefault(one.core, set()).add(one.pcpu)
        plans = list(running)
        owned = {pcpu for plan in plans for pcpu in _owned(plan)}
        pinned = {pcpu for plan in plans if plan.placement == "pinned" for vcpu in plan.vcpus for pcpu in vcpu.pin}
        aside = _housekeeping(policy, online, members)
        floating = {pcpu for pcpu, one in online.items() if not one.isolated} - owned - aside
        load: Counter[int] = Counter()
        for plan in plans:
            if plan.placement == "shared":
                load.update({node: len(guest.vcpus) for guest in plan.guest_nodes for node in guest.host_nodes})
        return Machine(
            facts=facts,
            online=online,
            members={core: frozenset(pcpus) for core, pcpus in members.items()},
            taken=frozenset(owned | pinned | aside),
            pool=frozenset(floating - pinned or floating),
            load=load,
        )

    def node_of(self, pcpu: int) -> int:
        return self.online[pcpu].host_node

    def distance(self, one: int, other: int) -> int:
        if one == other:
            return 10
        return next(node.distances.get(other, 20) for node in self.facts.nodes if node.host_node == one)


def _owned(plan: VmPlan) -> set[int]:
    if plan.placement not in ("dedicated", "isolated"):
        return set(plan.support_pcpus)
    return {*plan.emptied, *plan.support_pcpus, *(pcpu for vcpu in plan.vcpus for pcpu in vcpu.pin)}


def _housekeeping(policy: HostPolicy, online: Mapping[int, PcpuFacts], members: Mapping[int, set[int]]) -> set[int]:
    if policy.housekeeping is not None:
        return set(policy.housekeeping) & online.keys()
    if len(members) <= 2:
        return set()
    first = min([pcpu for pcpu, one in online.items() if not one.isolated] or online)
    return members[online[first].core]


def node_penalty(machine: Machine, guest_cores: Sequence[Sequence[int]], *, whole: bool) -> int:
    """What the own pCPUs of some guest cores on one host node cost."""
    pcpus = [pcpu for guest_core in guest_cores for pcpu in guest_core]
    if not pcpus:
        return 0
    core_of = {pcpu: machine.online[pcpu].core for pcpu in pcpus}
    points = POINTS["l3"] * (len({machine.online[pcpu].l3 for pcpu in pcpus}) - 1)
    points += POINTS["efficient"] * sum(machine.online[pcpu].core_type == "efficient" for pcpu in pcpus)
    if len(machine.members) <= 2:
        points += POINTS["first"] * sum(min(machine.online) in machine.members[core_of[pcpu]] for pcpu in pcpus)
    points += POINTS["neighbour"] * sum(bool(machine.members[core_of[pcpu]] & machine.taken) for pcpu in pcpus)
    points += POINTS["pool"] * _pool_wasted(machine, pcpus)
    if whole:
        return points
    used = Counter(core_of.values())
    clean = [core for core in used if not machine.members[core] & machine.taken]
    points += POINTS["broken"] * sum(used[core] < len(machine.members[core]) for core in clean)
    if len(guest_cores[0]) <= max(map(len, machine.members.values())):
        points += POINTS["split"] * sum(len({core_of[pcpu] for pcpu in one}) > 1 for one in guest_cores)
    return points


def _pool_wasted(machine: Machine, pcpus: Sequence[int]) -> int:
    """pCPUs of the pool taken while isolated ones of the node stay unused."""
    node = machine.node_of(pcpus[0])
    isolated = {pcpu for pcpu, one in machine.online.items() if one.isolated and one.host_node == node} - machine.taken
    return min(sum(not machine.online[pcpu].isolated for pcpu in pcpus), len(isolated - set(pcpus)))


def set_penalty(machine: Machine, nodes: Sequence[int], *, grows: bool, devices: Sequence[int]) -> int:
    """What memory on these host nodes costs by itself; `devices`: the nodes of the VM's hardware."""
    pairs = [(one, other) for at, one in enumerate(nodes) for other in nodes[at + 1 :]]
    points = POINTS["node"] * (len(nodes) - 1) + POINTS["growth"] * grows
    points += POINTS["distance"] * sum(machine.distance(one, other) - 10 for one, other in pairs)
    return points + POINTS["device"] * sum(device not in nodes for device in devices)


def load_penalty(machine: Machine, nodes: Sequence[int], vcpus: int) -> int:
    """Shared: how crowded the pool on these nodes becomes."""
    pcpus = sum(machine.node_of(pcpu) in nodes for pcpu in machine.pool)
    load = sum(machine.load.get(node, 0) for node in nodes) + vcpus
    return min(POINTS["load"], load // max(1, pcpus))


def penalty_of(machine: Machine, plan: VmPlan, devices: Sequence[int]) -> int:
    """The points that speak against a plan on this machine."""
    homes = {guest.guest_node: guest.host_nodes[0] for guest in plan.guest_nodes}
    nodes = sorted(homes.values())
    points = set_penalty(machine, nodes, grows=bool(plan.pool_growth), devices=devices)
    if plan.placement == "shared":
        return points + load_penalty(machine, nodes, len(plan.vcpus))
    seats: dict[int, list[list[int]]] = {}
    for first in range(0, len(plan.vcpus), plan.threads):
        pcpus = [pcpu for vcpu in plan.vcpus[first : first + plan.threads] for pcpu in vcpu.pin]
        seats.setdefault(machine.node_of(pcpus[0]), []).append(pcpus)
    counts = [len(guest.vcpus) // plan.threads for guest in plan.guest_nodes]
    share = -(-sum(counts) // len(counts))
    points += POINTS["uneven"] * sum(max(0, count - share) for count in counts)
    for vcpu in plan.vcpus:
        (pcpu,) = vcpu.pin
        points += POINTS["remote"] * (machine.distance(homes[vcpu.guest_node], machine.node_of(pcpu)) - 10)
    return points + sum(node_penalty(machine, seat, whole=plan.placement == "isolated") for seat in seats.values())
