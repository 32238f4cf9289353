"""score: how good a seat is, in four figures from 0 to 100, each with what it was counted from. 100 is the best possible.

Strategy: a score judges a plan that exists; it decides nothing and the planner does not read it. None means that the question
makes no sense: siblings and L3 groups of vCPUs that float, devices of a VM whose devices sit nowhere in particular.
docs/whatif.md has the definitions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import frozen

from qsup.plan.host_facts import HostFacts
from qsup.plan.host_index import HostIndex
from qsup.plan.ledger import Ledger
from qsup.plan.ledger_index import LedgerIndex
from qsup.plan.vmplan import VcpuPlan, VmPlan

_LOCAL_DISTANCE = 10


@frozen
class DeviceDistance:
    """A disk or nic whose hardware sits on a known host node, and how far the VM's memory is from it (10: local)."""

    device: str
    host_node: int
    distance: int


@frozen
class Score:
    """`smt`: share of vCPUs whose sibling pCPUs carry no other VM (`neighbours` are those that they carry).

    `l3`: the fewest L3 groups that could hold the vCPUs (`l3_least`) in relation to the groups used (`l3_groups`).
    `node`: local distance in relation to the mean distance from vCPU to memory. `device`: the same from device to memory.
    `split_cores`: guest cores whose threads do not lie on one host core.
    """

    smt: int | None
    neighbours: tuple[str, ...]
    split_cores: int
    l3: int | None
    l3_groups: int
    l3_least: int
    node: int | None
    remote_vcpus: int
    device: int | None
    devices: tuple[DeviceDistance, ...]


def score_of(plan: VmPlan, facts: HostFacts, ledger: Ledger) -> Score:
    """The scores of a plan among the VMs of a ledger (it may be among them itself)."""
    host = facts.index
    others = ledger.index_without(plan.name)
    seats = _single_pins(plan)
    crowded = [pcpu for pcpu in seats if _neighbours(host, others, pcpu)]
    distances = tuple(_vcpu_distances(plan, host))
    devices = tuple(_devices(plan, facts))
    l3_groups, l3_least = _l3(host, seats)
    return Score(
        smt=_percent(len(seats) - len(crowded), len(seats)) if host.threads > 1 else None,
        neighbours=tuple(sorted({name for pcpu in crowded for name in _neighbours(host, others, pcpu)})),
        split_cores=_split_cores(plan, host) if seats else 0,
        l3=_percent(l3_least, l3_groups),
        l3_groups=l3_groups,
        l3_least=l3_least,
        node=_percent(_LOCAL_DISTANCE * len(distances), sum(distances)),
        remote_vcpus=sum(distance > _LOCAL_DISTANCE for distance in distances),
        device=_percent(_LOCAL_DISTANCE * len(devices), sum(device.distance for device in devices)),
        devices=devices,
    )


def _percent(part: int, whole: int) -> int | None:
    return round(100 * part / whole) if whole else None


def _seated(plan: VmPlan) -> Iterable[VcpuPlan]:
    """The vCPUs that do not float over the shared pool."""
    return (vcpu for vcpu in plan.vcpus if vcpu.vcpu_index not in plan.floating)


def _single_pins(plan: VmPlan) -> tuple[int, ...]:
    """The pCPU of each vCPU that has one alone; none where they float."""
    return tuple(pcpu for vcpu in _seated(plan) if len(vcpu.pin) == 1 for pcpu in vcpu.pin)


def _neighbours(host: HostIndex, others: LedgerIndex, pcpu: int) -> frozenset[str]:
    """The other VMs whose own vCPUs sit on the pCPU's siblings (or on itself)."""
    tables = (others.exclusive, others.pinned)
    return frozenset(name for member in host.siblings({pcpu}) for table in tables for name in table.get(member, ()))


def _split_cores(plan: VmPlan, host: HostIndex) -> int:
    if plan.threads == 1 or plan.placement == "isolated":
        return 0
    cores: dict[tuple[int, int], set[int]] = {}
    for vcpu in _seated(plan):
        cores.setdefault((vcpu.socket, vcpu.core), set()).update(host.core_of.get(pcpu, -1 - pcpu) for pcpu in vcpu.pin)
    return sum(len(used) > 1 for used in cores.values())


def _l3(host: HostIndex, seats: Iterable[int]) -> tuple[int, int]:
    """(groups used, fewest that could hold as many vCPUs were the host empty); (0, 0) where the host tells of no L3."""
    used = Counter(host.l3_of_core[host.core_of[pcpu]] for pcpu in seats if pcpu in host.core_of)
    if not used or -1 in used:
        return 0, 0
    sizes = Counter(host.l3_of_core[host.core_of[pcpu]] for pcpu in host.online)
    per_core = max(1, round(sum(used.values()) / len({host.core_of[pcpu] for pcpu in seats if pcpu in host.core_of})))
    left, least = sum(used.values()), 0
    for size in sorted(sizes.values(), reverse=True):
        if left <= 0:
            break
        left -= max(1, size * per_core // host.threads)
        least += 1
    return len(used), min(least, len(used))


def _vcpu_distances(plan: VmPlan, host: HostIndex) -> Iterable[int]:
    """For each vCPU of a guest node with bound memory: the mean distance from its pCPUs to the nearest node of it."""
    homes = {guest.guest_node: guest.host_nodes for guest in plan.guest_nodes}
    for vcpu in plan.vcpus:
        nodes = [host.node_of[pcpu] for pcpu in vcpu.pin if pcpu in host.node_of]
        home = homes.get(vcpu.guest_node, ())
        if nodes and home:
            yield round(sum(min(host.distance(node, other) for other in home) for node in nodes) / len(nodes))


def _devices(plan: VmPlan, facts: HostFacts) -> Iterable[DeviceDistance]:
    memory = sorted({node for guest in plan.guest_nodes for node in guest.host_nodes})
    if not memory:
        return
    images = ((disk.disk_id, facts.images.get(disk.chain[0].path)) for disk in plan.disks)
    bridges = ((nic.nic_id, facts.bridges.get(nic.bridge)) for nic in plan.nics)
    for name, device in (*images, *bridges):
        if device is not None and device.host_node is not None:
            distance = min(facts.index.distance(device.host_node, node) for node in memory)
            yield DeviceDistance(name, device.host_node, distance)
