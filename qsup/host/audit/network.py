"""Bridges with what leads out of the host below them: bonds, VLANs, NICs with their queues, interrupts and offloads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qsup.host.audit.settings import told
from qsup.host.links import is_bridge
from qsup.host.offloads import read_offloads
from qsup.host.sysfs import NET_DIR, exists, is_dir, list_dir, numbered, read_number
from qsup.truth.audit.facts import BridgeNet, NetworkFacts, PortFacts

_NETFILTER = "/proc/sys/net/bridge"
_DEPTH_LIMIT = 5


def read_network(root: str, bridges: Iterable[str]) -> NetworkFacts:
    """The bridges of these names that there are.

    Touches:
        /sys/class/net, /proc/sys/net/bridge, ioctl SIOCETHTOOL.
    """
    found = {name: _bridge(root, name) for name in sorted(set(bridges)) if "/" not in name and is_bridge(name, root)}
    names = [name for name in list_dir(root, _NETFILTER) if name.startswith("bridge-nf-call-")]
    return NetworkFacts(found, tuple(told(root, f"{_NETFILTER}/{name}") for name in names))


def _bridge(root: str, name: str) -> BridgeNet:
    top = f"{NET_DIR}/{name}"
    return BridgeNet(
        name,
        mtu=told(root, f"{top}/mtu"),
        stp=told(root, f"{top}/bridge/stp_state"),
        forward_delay=told(root, f"{top}/bridge/forward_delay"),
        ports=tuple(_ports(root, name, _DEPTH_LIMIT)),
    )


def _ports(root: str, link: str, depth: int) -> Iterator[PortFacts]:
    """The links below this one, nearest first; taps and other guests' ends lead nowhere and are left out."""
    names = list_dir(root, f"{NET_DIR}/{link}") if depth else ()
    for name in (name.removeprefix("lower_") for name in names if name.startswith("lower_")):
        hardware = is_dir(root, f"{NET_DIR}/{name}/device")
        lower = any(entry.startswith("lower_") for entry in list_dir(root, f"{NET_DIR}/{name}"))
        if exists(root, f"{NET_DIR}/{name}/tun_flags") or not (hardware or lower):
            continue
        yield _port(root, name) if hardware else PortFacts(name, told(root, f"{NET_DIR}/{name}/mtu"))
        yield from _ports(root, name, depth - 1)


def _port(root: str, name: str) -> PortFacts:
    top = f"{NET_DIR}/{name}"
    node = read_number(root, f"{top}/device/numa_node")
    irqs = list_dir(root, f"{top}/device/msi_irqs") or list_dir(root, f"{top}/device/../msi_irqs")
    return PortFacts(
        name,
        told(root, f"{top}/mtu"),
        hardware=True,
        host_node=node if node is not None and node >= 0 else None,
        queues=len(numbered(list_dir(root, f"{top}/queues"), "rx-")),
        irqs=tuple(int(irq) for irq in irqs if irq.isdigit()),
        offloads=read_offloads(name, root),
    )
