"""Networks: from the guest's nic over its tap and bridge to the hardware."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.cpuset import format_cpulist
from qsup.plan.vmplan import NicPlan, VmPlan
from qsup.truth.audit.facts import AuditFacts, BridgeNet, PortFacts
from qsup.truth.audit.rule import HOST, UNKNOWN_COST, Answer, Evidence, Found, Irrelevant, Rule, Unknown, not_told, told

_WANTED_OFFLOADS = ("tx-checksum", "scatter-gather", "tso", "gso", "gro")
_ETHTOOL_WORDS = {"tx-checksum": "tx", "scatter-gather": "sg"}
_MANY_VCPUS = 4
_MANY_PCPUS = 4
_NO_NICS = Irrelevant("no VM has a nic")
_NO_HARDWARE = Irrelevant("no NIC of this host is under a bridge of a VM")


def _nics(facts: AuditFacts) -> list[tuple[VmPlan, NicPlan]]:
    return [(plan, nic) for plan in facts.plans for nic in plan.nics]


def _ports(facts: AuditFacts) -> list[tuple[BridgeNet, PortFacts]]:
    """NICs of this host under bridges of VMs, each once."""
    found: dict[str, tuple[BridgeNet, PortFacts]] = {}
    for bridge in facts.network.bridges.values():
        for port in bridge.ports:
            if port.hardware:
                found.setdefault(port.name, (bridge, port))
    return list(found.values())


def _no_vhost(facts: AuditFacts) -> Answer:
    nics = _nics(facts)
    if not nics:
        return _NO_NICS
    found = []
    for plan, nic in nics:
        if not nic.vhost:
            why = "vhost = false" if facts.host.vhost_net else "/dev/vhost-net cannot be opened"
            what = f"{nic.nic_id} of {plan.name}: packets go through QEMU's main loop ({why})"
            evidence = Evidence(f"{plan.name}: {nic.nic_id}.vhost", "false")
            mend = "# in {vm}'s file: remove vhost = false, then" if facts.host.vhost_net else "modprobe vhost_net   # then"
            found.append(Found(plan.name, what, (evidence,), {"vm": plan.name, "mend": mend.format(vm=plan.name)}))
    return tuple(found)


def _netfilter(facts: AuditFacts) -> Answer:
    if not _nics(facts):
        return _NO_NICS
    if not facts.network.netfilter:
        return Irrelevant("br_netfilter is not loaded")
    on = [one for one in facts.network.netfilter if one.number == 1]
    if not on:
        return ()
    keys = " ".join(f"net.bridge.{one.file.rpartition('/')[2]}=0" for one in on)
    return (Found(HOST, "frames between guests pass through the host's iptables", told(*on), {"keys": keys}),)


def _mtu(facts: AuditFacts) -> Answer:
    nics = _nics(facts)
    if not nics:
        return _NO_NICS
    found = [one for bridge in facts.network.bridges.values() for one in _mtu_of_ports(bridge)]
    unread = []
    for plan, nic in nics:
        bridge = facts.network.bridges.get(nic.bridge)
        if bridge is None or nic.mtu is None:
            continue
        if bridge.mtu.number is None:
            unread.append(bridge.mtu)
        elif bridge.mtu.number < nic.mtu:
            what = f"{nic.nic_id} of {plan.name} has MTU {nic.mtu}, its bridge {bridge.name} {bridge.mtu.number}"
            evidence = (Evidence(f"{plan.name}: {nic.nic_id}.mtu", str(nic.mtu)), *told(bridge.mtu))
            found.append(Found(plan.name, what, evidence, {"link": bridge.name, "mtu": str(nic.mtu)}))
    return not_told(*unread) if unread and not found else tuple(found)


def _mtu_of_ports(bridge: BridgeNet) -> Iterable[Found]:
    for port in bridge.ports:
        if port.mtu.number is not None and bridge.mtu.number is not None and port.mtu.number < bridge.mtu.number:
            what = f"{bridge.name} has MTU {bridge.mtu.number}, {port.name} under it {port.mtu.number}"
            fill = {"link": port.name, "mtu": str(bridge.mtu.number)}
            yield Found(bridge.name, what, told(bridge.mtu, port.mtu), fill)


def _offloads(facts: AuditFacts) -> Answer:
    ports = _ports(facts)
    if not ports:
        return _NO_HARDWARE
    found = []
    for bridge, port in ports:
        off = [name for name in _WANTED_OFFLOADS if (port.offloads or {}).get(name) is False]
        if off:
            what = f"{port.name} under {bridge.name} leaves work to the processor: {', '.join(off)} off"
            words = " ".join(f"{_ETHTOOL_WORDS.get(name, name)} on" for name in off)
            evidence = (Evidence(f"ethtool -k {port.name}", ", ".join(f"{name}: off" for name in off)),)
            found.append(Found(port.name, what, evidence, {"link": port.name, "words": words}))
    if not found and all(port.offloads is None for _, port in ports):
        return Unknown(f"the offloads of {', '.join(port.name for _, port in ports)} are not told")
    return tuple(found)


def _receive_merging(facts: AuditFacts) -> Answer:
    ports = _ports(facts)
    if not ports:
        return _NO_HARDWARE
    found = []
    for bridge, port in ports:
        if (port.offloads or {}).get("lro"):
            what = f"{port.name} under {bridge.name} merges received packets in hardware (LRO)"
            evidence = (Evidence(f"ethtool -k {port.name}", "large-receive-offload: on"),)
            found.append(Found(port.name, what, evidence, {"link": port.name}))
    return tuple(found)


def _one_queue(facts: AuditFacts) -> Answer:
    nics = _nics(facts)
    if not nics:
        return _NO_NICS
    found = []
    for plan, nic in nics:
        if nic.queues == 1 and len(plan.vcpus) >= _MANY_VCPUS and nic.vhost:
            what = f"{nic.nic_id} of {plan.name} has one queue for {len(plan.vcpus)} vCPUs"
            fill = {"vm": plan.name, "queues": str(min(len(plan.vcpus), 8))}
            found.append(Found(plan.name, what, (Evidence(f"{plan.name}: {nic.nic_id}.queues", "1"),), fill))
    return tuple(found)


def _too_many_queues(facts: AuditFacts) -> Answer:
    nics = _nics(facts)
    if not nics:
        return _NO_NICS
    found = []
    for plan, nic in nics:
        if nic.queues > len(plan.vcpus):
            what = f"{nic.nic_id} of {plan.name} has {nic.queues} queues for {len(plan.vcpus)} vCPUs"
            fill = {"vm": plan.name, "queues": str(len(plan.vcpus))}
            found.append(Found(plan.name, what, (Evidence(f"{plan.name}: {nic.nic_id}.queues", str(nic.queues)),), fill))
    return tuple(found)


def _hardware_queues(facts: AuditFacts) -> Answer:
    ports = _ports(facts)
    if not ports:
        return _NO_HARDWARE
    if len(facts.host.index.online) < _MANY_PCPUS:
        return Irrelevant(f"the host has less than {_MANY_PCPUS} pCPUs")
    found = []
    for bridge, port in ports:
        if port.queues == 1:
            what = f"{port.name} under {bridge.name} receives everything in one queue, on one pCPU"
            evidence = (Evidence(f"/sys/class/net/{port.name}/queues", "rx-0 alone"),)
            found.append(Found(port.name, what, evidence, {"link": port.name}))
    return tuple(found)


def _irq_far(facts: AuditFacts) -> Answer:
    if len(facts.host.nodes) < 2:
        return Irrelevant("the host has one node")
    ports = _ports(facts)
    if not ports:
        return _NO_HARDWARE
    if facts.interrupts.irqs is None:
        return Unknown("cannot be read: /proc/interrupts")
    irqs = {irq.number: irq for irq in facts.interrupts.irqs}
    found = []
    for _, port in ports:
        near = facts.host.index.node_pcpus.get(port.host_node, frozenset()) if port.host_node is not None else frozenset()
        far = [irqs[number] for number in port.irqs if number in irqs and near and not irqs[number].affinity & near]
        if far:
            pcpus = format_cpulist(frozenset[int]().union(*(irq.affinity for irq in far)))
            what = f"{port.name} is on node {port.host_node}, {len(far)} of its interrupts come to pCPUs {pcpus} elsewhere"
            evidence = (
                Evidence(f"/sys/class/net/{port.name}/device/numa_node", str(port.host_node)),
                *(Evidence(irq.file, format_cpulist(irq.affinity)) for irq in far[:4]),
            )
            fill = {"irqs": " ".join(str(irq.number) for irq in far), "pcpus": format_cpulist(near & facts.spare or near)}
            found.append(Found(port.name, what, evidence, fill))
    return tuple(found)


def _vm_far(facts: AuditFacts) -> Answer:
    if len(facts.host.nodes) < 2:
        return Irrelevant("the host has one node")
    nics = _nics(facts)
    if not nics:
        return _NO_NICS
    found = []
    for plan, nic in nics:
        bridge = facts.network.bridges.get(nic.bridge)
        under = {port.host_node for port in bridge.ports if port.hardware and port.host_node is not None} if bridge else set()
        nodes = {node for guest in plan.guest_nodes for node in guest.host_nodes}
        if under and nodes and not under & nodes:
            node = min(under)
            what = f"{nic.nic_id} of {plan.name} leaves by a NIC on node {node}, the VM is on node {min(nodes)}"
            where = Evidence(f"{plan.name}: plan", f"node {format_cpulist(nodes)}")
            evidence = (Evidence(f"{nic.bridge}: NIC", f"node {node}"), where)
            found.append(Found(plan.name, what, evidence, {"node": str(node)}))
    return tuple(found)


def _spanning_tree(facts: AuditFacts) -> Answer:
    if not _nics(facts):
        return _NO_NICS
    found = []
    for bridge in facts.network.bridges.values():
        delay = bridge.forward_delay.number or 0
        if bridge.stp.number and delay:
            what = f"{bridge.name} runs STP: a guest that starts hears nothing for {2 * delay / 100:.0f} s"
            found.append(Found(bridge.name, what, told(bridge.stp, bridge.forward_delay), {"link": bridge.name}))
    return tuple(found)


RULES = (
    Rule(
        "network.no-vhost",
        "a nic without vhost",
        "medium",
        "Each packet wakes QEMU's main loop and is copied by it; vhost does the same in the kernel, on a thread of its own.",
        UNKNOWN_COST,
        "{mend} qsup restart {vm} (a cold start)",
        ("/dev/vhost-net", "the VMs' plans"),
        _no_vhost,
        "vhost_net in /etc/modules-load.d/qsup.conf",
    ),
    Rule(
        "network.bridge-netfilter",
        "bridged frames pass through the host's firewall",
        "medium",
        "Rules and connection tracking meant for the host are applied to every frame between guests: time, and silent drops.",
        UNKNOWN_COST,
        "sysctl -w {keys}   # unless something here (Docker, Kubernetes) filters guests on purpose",
        ("/proc/sys/net/bridge/bridge-nf-call-*",),
        _netfilter,
        "the same lines in /etc/sysctl.d/90-qsup.conf, and br_netfilter in /etc/modules-load.d",
    ),
    Rule(
        "network.mtu-mismatch",
        "MTUs that do not fit along the way",
        "high",
        "Frames larger than the smallest MTU are dropped without a word: small requests work, large answers hang.",
        UNKNOWN_COST,
        "ip link set {link} mtu {mtu}   # or lower the other side",
        ("/sys/class/net/LINK/mtu", "the VMs' plans"),
        _mtu,
        "the MTU in the network configuration of the host",
    ),
    Rule(
        "network.offloads-off",
        "a NIC whose offloads are off",
        "medium",
        "Packets travel the bridge in pieces of one MTU, and the processor sums and splits what the NIC could.",
        UNKNOWN_COST,
        "ethtool -K {link} {words}",
        ("ethtool -k LINK",),
        _offloads,
        "the link's settings in systemd.link(5) or the network configuration",
    ),
    Rule(
        "network.lro-under-bridge",
        "LRO under a bridge",
        "medium",
        "What the hardware merged cannot be forwarded as it came: throughput collapses, checksums may break. GRO can.",
        UNKNOWN_COST,
        "ethtool -K {link} lro off gro on",
        ("ethtool -k LINK",),
        _receive_merging,
        "the link's settings in systemd.link(5) or the network configuration",
    ),
    Rule(
        "network.one-queue",
        "one queue for many vCPUs",
        "low",
        "All packets of the guest go through one vhost worker, and interrupts come to one vCPU.",
        UNKNOWN_COST,
        "# in {vm}'s file: [[nic]] queues = {queues}; then qsup restart {vm}",
        ("the VMs' plans",),
        _one_queue,
    ),
    Rule(
        "network.too-many-queues",
        "more queues than vCPUs",
        "low",
        "Each queue takes a vhost worker, interrupts and memory; guests use no more than they have vCPUs.",
        UNKNOWN_COST,
        "# in {vm}'s file: [[nic]] queues = {queues}; then qsup restart {vm}",
        ("the VMs' plans",),
        _too_many_queues,
    ),
    Rule(
        "network.hardware-queues",
        "a NIC with one receive queue",
        "low",
        "One pCPU takes all packets for all VMs out of the NIC.",
        UNKNOWN_COST,
        "ethtool -l {link}   # tells how many it may have; then ethtool -L {link} combined N",
        ("/sys/class/net/LINK/queues",),
        _hardware_queues,
        "the link's settings in systemd.link(5)",
    ),
    Rule(
        "network.irq-far-node",
        "a NIC's interrupts on another node",
        "medium",
        "Each packet's descriptor and header are fetched across the link between the sockets.",
        UNKNOWN_COST,
        "for n in {irqs}; do echo {pcpus} > /proc/irq/$n/smp_affinity_list; done",
        ("/sys/class/net/LINK/device/numa_node", "/proc/irq/N/effective_affinity_list"),
        _irq_far,
        "a policy script of irqbalance, or a unit that runs the command at boot",
    ),
    Rule(
        "network.vm-far-from-nic",
        "a VM on another node than its NIC",
        "low",
        "Packets cross the link between the sockets once more.",
        UNKNOWN_COST,
        '# in the VM\'s file: [memory] host_nodes = "{node}", where there is room; then restart',
        ("/sys/class/net/LINK/device/numa_node", "the VMs' plans"),
        _vm_far,
    ),
    Rule(
        "network.spanning-tree",
        "a bridge that runs STP delays every start",
        "low",
        "A new port listens and learns before it forwards: DHCP and PXE of a starting guest give up meanwhile.",
        UNKNOWN_COST,
        "ip link set {link} type bridge stp_state 0   # where no loop is possible",
        ("/sys/class/net/BRIDGE/bridge/stp_state", "/sys/class/net/BRIDGE/bridge/forward_delay"),
        _spanning_tree,
        "STP in the network configuration of the host",
    ),
)
