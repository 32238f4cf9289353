"""An independent judge of plans: the promises of docs/placement.md, written down again without the planner's code.

`faults_of` takes everything that runs and returns a sentence for each promise that is broken; a right host has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qsup.plan.host_facts import HostFacts
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan
from qsup.spec.vmspec import VmSpec


def faults_of(facts: HostFacts, policy: HostPolicy, plans: Iterable[VmPlan]) -> list[str]:
    """Every broken promise of these plans, which all hold at once on a host whose facts were read before any ran."""
    running = sorted(plans, key=lambda plan: plan.name)
    return [
        *(fault for plan in running for fault in _one(facts, policy, plan)),
        *_pcpus_given_twice(facts, running),
        *_pages_given_twice(facts, policy, running),
        *_memory_given_twice(facts, policy, running),
        *_names_given_twice(running),
        *_floating_over_owned(facts, running),
        *_beside_realtime(running),
        *_settings_broken(facts, policy, running),
    ]


def strays_from(spec: VmSpec, plan: VmPlan) -> list[str]:
    """Every guest node that is not as the file writes it: vCPUs, size, host nodes, pages."""
    default = spec.memory.hugepages_bytes
    strays = []
    for at, asked in enumerate(spec.memory.nodes or ()):
        given = plan.guest_nodes[at]
        own = asked.hugepages_bytes
        page = None if own == "off" else own or default
        if (given.page_size_bytes, given.hugepages) != ((4096, False) if page is None else (page, True)):
            strays.append(f"guest node {at} lies on pages of {given.page_size_bytes}, hugepages: {given.hugepages}")
        if (set(given.vcpus), given.size_bytes) != (set(asked.vcpus), asked.size_bytes):
            strays.append(f"guest node {at} has {given.vcpus} and {given.size_bytes} bytes")
        elsewhere = {node for node, _ in given.pages} - (asked.host_nodes or {node for node, _ in given.pages})
        if elsewhere and spec.memory.policy != "preferred":
            strays.append(f"guest node {at} takes pages of host nodes {sorted(elsewhere)}")
    return strays


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
    if plan.placement not in ("dedicated", "isolated"):
        return []
    return [pcpu for vcpu in plan.vcpus if vcpu.vcpu_index not in plan.shared_vcpus for pcpu in vcpu.pin]


def _exclusive(plan: VmPlan) -> set[int]:
    """What belongs to this VM alone."""
    return {*_owned(plan), *plan.emptied, *plan.support_pcpus}


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
    yield from _own_sets(plan)
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
    if len(owned) != len(plan.vcpus) - len(plan.shared_vcpus) or len(set(owned)) != len(owned):
        yield f"{who}: its vCPUs have not one own pCPU each"
    if set(owned) & _set_aside(facts, policy):
        yield f"{who}: owns housekeeping pCPUs"
    cores = [_core(facts, pcpu) for pcpu in owned]
    if plan.placement == "isolated":
        whole = {pcpu for core in cores for pcpu in _core_members(facts, core)}
        if len(set(cores)) != len(cores) or set(plan.emptied) | set(owned) != whole:
            yield f"{who}: its cores are not whole"
    widest = max(len(_core_members(facts, core)) for core in {one.core for one in facts.pcpus if one.online})
    split_told = any(warning.code == "plan.siblings-split" for warning in plan.warnings)
    if plan.placement == "dedicated" and 1 < plan.threads <= widest and not split_told:
        for first in range(0, len(owned), plan.threads):
            if len(set(cores[first : first + plan.threads])) != 1:
                yield f"{who}: guest siblings {first}… do not lie on one host core"
    yield from _locality(facts, plan)


def _locality(facts: HostFacts, plan: VmPlan) -> Iterable[str]:
    codes = {warning.code for warning in plan.warnings}
    for node in plan.guest_nodes:
        homes = {_node(facts, pcpu) for vcpu in node.vcpus for pcpu in plan.vcpus[vcpu].pin}
        gives = {host_node for host_node, _ in (*node.base_bytes, *node.pages)} | set(node.host_nodes)
        if not homes <= gives and "plan.vcpus-remote" not in codes:
            yield f"{plan.name}: vCPUs away from their memory, and no warning"


def _pcpus_given_twice(facts: HostFacts, plans: list[VmPlan]) -> Iterable[str]:
    owners: Counter[int] = Counter()
    for plan in plans:
        owners.update(_exclusive(plan))
        if set(plan.support_pcpus) & {*_owned(plan), *plan.emptied}:
            yield f"{plan.name}: its own threads share a pCPU with its vCPUs"
    twice = sorted(pcpu for pcpu, count in owners.items() if count > 1)
    if twice:
        yield f"pCPUs {twice} belong to two VMs"
    pinned = {pcpu for plan in plans if plan.placement == "pinned" for vcpu in plan.vcpus for pcpu in vcpu.pin}
    if pinned & owners.keys():
        yield f"pCPUs {sorted(pinned & owners.keys())} belong to a VM and carry pins of another"


def _floating_over_owned(facts: HostFacts, plans: list[VmPlan]) -> Iterable[str]:
    owned = {pcpu for plan in plans for pcpu in _exclusive(plan)}
    free = _online(facts) - owned
    for plan in plans:
        floats = [vcpu for vcpu in plan.vcpus if plan.placement == "shared" or vcpu.vcpu_index in plan.shared_vcpus]
        if any(vcpu.pin & owned for vcpu in floats):
            yield f"{plan.name}: floats over owned pCPUs"
        allowed = set(_owned(plan)) if plan.emulator_asked else set()
        if free and plan.emulator & owned - allowed - plan.support_pcpus:
            yield f"{plan.name}: its emulator runs on owned pCPUs though others are free"
        others = [*(iothread.pin for iothread in plan.iothreads), *(nic.worker_pin for nic in plan.nics)]
        if free and any(pin & owned - plan.support_pcpus for pin in others):
            yield f"{plan.name}: iothreads or workers run on owned pCPUs though others are free"


def _beside_realtime(plans: list[VmPlan]) -> Iterable[str]:
    """A real-time vCPU is alone on its pCPUs: no other vCPU, and no thread of any QEMU."""
    for plan in (plan for plan in plans if plan.realtime_priority is not None):
        own = [vcpu for vcpu in plan.vcpus if vcpu.vcpu_index not in plan.floating]
        taken = {pcpu for vcpu in own for pcpu in vcpu.pin}
        if sum(len(vcpu.pin) for vcpu in own) != len(taken):
            yield f"{plan.name}: its real-time vCPUs share pCPUs"
        for other in plans:
            sets = [other.emulator, *(iothread.pin for iothread in other.iothreads), *(nic.worker_pin for nic in other.nics)]
            sets += [vcpu.pin for vcpu in other.vcpus if other is not plan or vcpu.vcpu_index in plan.floating]
            if any(pin & taken for pin in sets):
                yield f"{other.name}: something of it runs beside real-time vCPUs of {plan.name}"


def _own_sets(plan: VmPlan) -> Iterable[str]:
    """Threads that asked for their own pCPU have one each, and nobody of this VM has it too."""
    own = [plan.emulator] if plan.sets.emulator == "own" else []
    own += [iothread.pin for iothread in plan.iothreads] if plan.sets.iothreads == "own" else []
    own += [nic.worker_pin for nic in plan.nics] if plan.sets.vhost == "own" else []
    if any(len(pin) != 1 for pin in own) or len(set(own)) != len(own):
        yield f"{plan.name}: threads with their own pCPU have not one each"
    if {pcpu for pin in own for pcpu in pin} != set(plan.support_pcpus):
        yield f"{plan.name}: support_pcpus are not what its threads have"


def _settings_broken(facts: HostFacts, policy: HostPolicy, plans: list[VmPlan]) -> Iterable[str]:
    if policy.host_nodes is not None:
        for plan in plans:
            memory = {host_node for node in plan.guest_nodes for host_node, _ in node.base_bytes}
            seats = {_node(facts, pcpu) for pcpu in _owned(plan)}
            if plan.placement != "pinned" and not (memory | seats) <= policy.host_nodes:
                yield f"{plan.name}: sits on host nodes that the settings bar"
    if policy.overcommit is not None:
        yield from _crowded(facts, policy, plans, policy.overcommit)


def _crowded(facts: HostFacts, policy: HostPolicy, plans: list[VmPlan], most: int) -> Iterable[str]:
    """Nodes with more shared vCPUs than place.overcommit allows; guest nodes over several host nodes are left out."""
    taken = {pcpu for plan in plans for pcpu in _exclusive(plan)} | _isolated(facts)
    pinned = {pcpu for plan in plans if plan.placement == "pinned" for vcpu in plan.vcpus for pcpu in vcpu.pin}
    set_aside = _set_aside(facts, policy) if _core_count(facts) > 2 else set()
    for node in facts.nodes:
        local = {one.pcpu for one in facts.pcpus if one.online and one.host_node == node.host_node}
        pool = local - taken - set_aside
        load = 0
        for plan in plans:
            for guest in plan.guest_nodes:
                floats = set(guest.vcpus) if plan.placement == "shared" else plan.shared_vcpus & set(guest.vcpus)
                load += len(floats) if guest.host_nodes == (node.host_node,) else 0
        if pool and load > most * len(pool - pinned or pool):
            yield f"node {node.host_node}: {load} shared vCPUs on {len(pool)} pool pCPUs"


def _pages_given_twice(facts: HostFacts, policy: HostPolicy, plans: list[VmPlan]) -> Iterable[str]:
    free = {(node.host_node, pool.page_size_bytes): pool.free for node in facts.nodes for pool in node.pools}
    promised: Counter[tuple[int, int]] = Counter()
    grown: Counter[tuple[int, int]] = Counter()
    for plan in plans:
        for node in plan.guest_nodes:
            promised.update({(host_node, node.page_size_bytes): count for host_node, count in node.pages})
        for growth in plan.pool_growth:
            grown[(growth.host_node, growth.page_size_bytes)] += growth.count
    for key, count in promised.items():
        left = max(0, free.get(key, 0) - policy.reserved_pages_on(*key))
        if count > left + grown[key]:
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
        left = node_facts.memory_free_bytes - policy.reserved_memory_on(node_facts.host_node)
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
