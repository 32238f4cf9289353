"""An independent judge of plans: the promises of docs/placement.md, written down again without the planner's code.

`faults_of` takes everything that runs and returns a sentence for each promise that is broken; a right host has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qsup.plan.host_facts import HostFacts
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan


def faults_of(facts: HostFacts, policy: HostPolicy, plans: Iterable[VmPlan]) -> list[str]:
    """Every broken promise of these plans, which all hold at once on a host whose facts were read before any ran."""
    running = sorted(plans, key=lambda plan: plan.name)
    return [
        *(fault for plan in running for fault in _one(facts, policy, plan)),
        *_pcpus_given_twice(facts, running),
        *_pages_given_twice(facts, running),
        *_memory_given_twice(facts, policy, running),
        *_names_given_twice(running),
        *_floating_over_owned(facts, running),
    ]


def _online(facts: HostFacts) -> set[int]:
    return {one.pcpu for one in facts.pcpus if one.online}


def _isolated(facts: HostFacts) -> set[int]:
    return {one.pcpu for one in facts.pcpus if one.online and one.isolated}


def _core(facts: HostFacts, pcpu: int) -> int:
    return next(one.core for one in facts.pcpus if one.pcpu == pcpu)


def _node(facts: HostFacts, pcpu: int) -> int:
    return next(one.host_node for one in facts.pcpus if one.pcpu == pcpu)


def _core_members(facts: HostFacts, core: int) -> set[int]:
    return {one.pcpu for one in facts.pcpus if one.core == core and one.online}


def _core_count(facts: HostFacts) -> int:
    return len({one.core for one in facts.pcpus if one.online})


def _set_aside(facts: HostFacts, policy: HostPolicy) -> set[int]:
    """Housekeeping pCPUs that no dedicated vCPU may have."""
    if policy.housekeeping is not None:
        return set(policy.housekeeping) & _online(facts)
    if _core_count(facts) <= 2:
        return set()
    first = min(_online(facts) - _isolated(facts) or _online(facts))
    return _core_members(facts, _core(facts, first))


def _owned(plan: VmPlan) -> list[int]:
    return [pcpu for vcpu in plan.vcpus for pcpu in vcpu.pin] if plan.placement in ("dedicated", "isolated") else []


def _one(facts: HostFacts, policy: HostPolicy, plan: VmPlan) -> Iterable[str]:
    who = plan.name
    sets = [("emulator", plan.emulator)]
    sets += [(f"vCPU {vcpu.vcpu_index}", vcpu.pin) for vcpu in plan.vcpus]
    sets += [(iothread.iothread_id, iothread.pin) for iothread in plan.iothreads]
    sets += [(nic.nic_id, nic.worker_pin) for nic in plan.nics]
    sets += [(f"prealloc {node.guest_node}", node.prealloc_pcpus) for node in plan.guest_nodes]
    for what, pcpus in sets:
        if not pcpus:
            yield f"{who}: {what} may run nowhere"
        if not pcpus <= _online(facts):
            yield f"{who}: {what} on pCPUs that are not online: {sorted(pcpus - _online(facts))}"
        if len(pcpus) > 1 and pcpus & _isolated(facts) and not what.startswith("prealloc"):
            yield f"{who}: {what} floats over isolated pCPUs"
    yield from _shape(plan)
    if plan.placement in ("dedicated", "isolated"):
        yield from _ownership(facts, policy, plan)


def _shape(plan: VmPlan) -> Iterable[str]:
    who = plan.name
    if plan.sockets * plan.cores * plan.threads != len(plan.vcpus):
        yield f"{who}: topology does not give its vCPUs"
    if len({(vcpu.socket, vcpu.core, vcpu.thread) for vcpu in plan.vcpus}) != len(plan.vcpus):
        yield f"{who}: two vCPUs have one place in the topology"
    if sorted(vcpu for node in plan.guest_nodes for vcpu in node.vcpus) != list(range(len(plan.vcpus))):
        yield f"{who}: guest nodes do not hold each vCPU once"
    for node in plan.guest_nodes:
        if node.hugepages and sum(count for _, count in node.pages) * node.page_size_bytes != node.size_bytes:
            yield f"{who}: guest node {node.guest_node} has not the pages for its size"
        if len(node.distances) != len(plan.guest_nodes) or node.distances[node.guest_node] != 10:
            yield f"{who}: guest node {node.guest_node} has wrong distances"
    if len(plan.paths.qmp_socket.encode()) > 107:
        yield f"{who}: socket path too long"


def _ownership(facts: HostFacts, policy: HostPolicy, plan: VmPlan) -> Iterable[str]:
    who, owned = plan.name, _owned(plan)
    if len(owned) != len(plan.vcpus) or len(set(owned)) != len(owned):
        yield f"{who}: its vCPUs have not one own pCPU each"
    if set(owned) & _set_aside(facts, policy):
        yield f"{who}: owns housekeeping pCPUs"
    cores = [_core(facts, pcpu) for pcpu in owned]
    if plan.placement == "isolated":
        whole = {pcpu for core in cores for pcpu in _core_members(facts, core)}
        if len(set(cores)) != len(cores) or set(plan.emptied) | set(owned) != whole:
            yield f"{who}: its cores are not whole"
    widest = max(len(_core_members(facts, core)) for core in {one.core for one in facts.pcpus if one.online})
    if plan.placement == "dedicated" and 1 < plan.threads <= widest:
        for first in range(0, len(owned), plan.threads):
            if len(set(cores[first : first + plan.threads])) != 1:
                yield f"{who}: guest siblings {first}… do not lie on one host core"
    yield from _locality(facts, plan)


def _locality(facts: HostFacts, plan: VmPlan) -> Iterable[str]:
    codes = {warning.code for warning in plan.warnings}
    for node in plan.guest_nodes:
        homes = {_node(facts, pcpu) for vcpu in node.vcpus for pcpu in plan.vcpus[vcpu].pin}
        gives = {host_node for host_node, _ in node.base_bytes} | set(node.host_nodes)
        if not homes <= gives and "plan.vcpus-remote" not in codes:
            yield f"{plan.name}: vCPUs away from their memory, and no warning"


def _pcpus_given_twice(facts: HostFacts, plans: list[VmPlan]) -> Iterable[str]:
    owners: Counter[int] = Counter()
    for plan in plans:
        owners.update(set(_owned(plan)) | set(plan.emptied))
    twice = sorted(pcpu for pcpu, count in owners.items() if count > 1)
    if twice:
        yield f"pCPUs {twice} belong to two VMs"
    pinned = {pcpu for plan in plans if plan.placement == "pinned" for vcpu in plan.vcpus for pcpu in vcpu.pin}
    if pinned & owners.keys():
        yield f"pCPUs {sorted(pinned & owners.keys())} belong to a VM and carry pins of another"


def _floating_over_owned(facts: HostFacts, plans: list[VmPlan]) -> Iterable[str]:
    owned = {pcpu for plan in plans for pcpu in {*_owned(plan), *plan.emptied}}
    free = _online(facts) - owned
    for plan in plans:
        if plan.placement == "shared" and any(vcpu.pin & owned for vcpu in plan.vcpus):
            yield f"{plan.name}: floats over owned pCPUs"
        allowed = set(_owned(plan)) if plan.emulator_asked else set()
        if free and plan.emulator & owned - allowed:
            yield f"{plan.name}: its emulator runs on owned pCPUs though others are free"


def _pages_given_twice(facts: HostFacts, plans: list[VmPlan]) -> Iterable[str]:
    free = {(node.host_node, pool.page_size_bytes): pool.free for node in facts.nodes for pool in node.pools}
    promised: Counter[tuple[int, int]] = Counter()
    grown: Counter[tuple[int, int]] = Counter()
    for plan in plans:
        for node in plan.guest_nodes:
            promised.update({(host_node, node.page_size_bytes): count for host_node, count in node.pages})
        for growth in plan.pool_growth:
            grown[(growth.host_node, growth.page_size_bytes)] += growth.count
    for key, count in promised.items():
        if count > free.get(key, 0) + grown[key]:
            yield f"{count} pages promised of {key}, and {free.get(key, 0)} + {grown[key]} are there"


def _memory_given_twice(facts: HostFacts, policy: HostPolicy, plans: list[VmPlan]) -> Iterable[str]:
    taken: Counter[int] = Counter()
    for plan in plans:
        for node in plan.guest_nodes:
            taken.update(dict(node.base_bytes))
        for growth in plan.pool_growth:
            taken[growth.host_node] += growth.count * growth.page_size_bytes
        base = sum(amount for node in plan.guest_nodes for _, amount in node.base_bytes)
        guest = sum(node.size_bytes for node in plan.guest_nodes if not node.hugepages)
        if base != guest + plan.overhead_bytes:
            yield f"{plan.name}: base pages do not add up"
    for node_facts in facts.nodes:
        left = node_facts.memory_free_bytes - policy.reserved_memory_bytes
        if taken[node_facts.host_node] > max(0, left):
            yield f"node {node_facts.host_node}: {taken[node_facts.host_node]} bytes promised, {left} there"


def _names_given_twice(plans: list[VmPlan]) -> Iterable[str]:
    for what, values in (
        ("uuid", [plan.uuid for plan in plans]),
        ("uid", [plan.uid for plan in plans if plan.uid is not None]),
        ("tap", [nic.tap for plan in plans for nic in plan.nics]),
        ("mac", [nic.mac for plan in plans for nic in plan.nics]),
    ):
        if len(set(values)) != len(values):
            yield f"a {what} was given twice"
    for plan in plans:
        slots = [disk.pci_slot for disk in plan.disks] + [nic.pci_slot for nic in plan.nics]
        if len(set(slots)) != len(slots):
            yield f"{plan.name}: a PCI slot was given twice"
        if any(len(nic.tap) > 15 for nic in plan.nics):
            yield f"{plan.name}: a tap name is too long"
