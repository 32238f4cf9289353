"""[[nic]] planned: bridge, tap, MAC address, vhost."""

from __future__ import annotations

from qsup.plan.case import Case
from qsup.plan.emulator import SupportPlan
from qsup.plan.identity import derived_mac, derived_tap, foreign_links
from qsup.plan.iothreads import nic_nodes
from qsup.plan.layout import Layout
from qsup.plan.vmplan import NicPlan
from qsup.plan.wording import names_text
from qsup.spec.nic import NicSpec

_TAP_CHARS = 15
# What the kernel gives a new bridge (net/bridge/br_device.c): a guest sees it from its first start on, not from the second.
_NEW_BRIDGE_MTU = 1500


def plan_nics(case: Case, slots: tuple[int, ...], support: SupportPlan, layout: Layout | None) -> tuple[NicPlan, ...]:
    """The nics in the file's order; what the host lacks for one is noted."""
    if case.spec.nics and not case.facts.may_network:
        case.notes.refuse(
            "plan.network-not-permitted",
            "this daemon may not create taps: it lacks CAP_NET_ADMIN",
            needed="CAP_NET_ADMIN",
            available="an ordinary user's rights",
            hint="run the daemon as root, or remove [[nic]] from the file",
        )
    nodes = nic_nodes(case, layout)
    several = layout is not None and len(layout.shares) > 1
    nics = tuple(
        _nic(
            case,
            position,
            nic,
            slots[position],
            worker_pin=support.worker_pin(position, nodes[position]),
            host_nodes=nodes[position] if several else (),
        )
        for position, nic in enumerate(case.spec.nics)
    )
    _check_own_addresses(case, nics)
    return nics


def _nic(
    case: Case, position: int, nic: NicSpec, slot: int, *, worker_pin: frozenset[int], host_nodes: tuple[int, ...]
) -> NicPlan:
    bridge = case.facts.bridges.get(nic.bridge)
    _check_mtu(case, nic, bridge.mtu if bridge else None)
    return NicPlan(
        nic_id=f"net{position}",
        bridge=nic.bridge,
        create_bridge=_creates_bridge(case, nic),
        tap=_tap(case, position, nic),
        mac=_mac(case, position, nic),
        queues=nic.queues,
        mtu=nic.mtu if nic.mtu is not None else bridge.mtu if bridge else _NEW_BRIDGE_MTU,
        vhost=_vhost(case, position, nic),
        pci_slot=slot,
        worker_pin=worker_pin,
        boot_index=_boot_index(case, position),
        host_nodes=host_nodes,
    )


def _boot_index(case: Case, position: int) -> int | None:
    """Nics boot (PXE) only where nothing else can."""
    boot = case.spec.boot
    return None if case.spec.disks or boot.kernel or boot.bios else position


def _creates_bridge(case: Case, nic: NicSpec) -> bool:
    if nic.bridge in case.facts.bridges:
        return False
    if nic.bridge in case.facts.links:
        case.notes.refuse(
            "plan.bridge-is-no-bridge",
            f"the link {nic.bridge} is not a bridge",
            needed="a bridge",
            available="a link of another kind",
            hint=f"name a bridge (`ip link show type bridge` lists them), or put {nic.bridge} under one: "
            f"ip link set {nic.bridge} master BRIDGE",
        )
        return False
    if not case.policy.create_bridges:
        case.notes.refuse(
            "plan.bridge-absent",
            f"the bridge {nic.bridge} does not exist",
            hint=f"create it (ip link add {nic.bridge} type bridge), name another (`ip link show type bridge` lists them), "
            "or set network.create_bridges = true in the settings",
        )
    return True


def _check_mtu(case: Case, nic: NicSpec, bridge_mtu: int | None) -> None:
    if nic.mtu is not None and bridge_mtu is not None and nic.mtu > bridge_mtu:
        case.notes.warn(
            "plan.mtu-above-bridge",
            f"mtu = {nic.mtu} bytes, and the bridge {nic.bridge} carries {bridge_mtu}: larger frames are dropped there",
            hint=f"raise the bridge's mtu, or set mtu = {bridge_mtu}",
            key="nic.mtu",
        )


def _tap(case: Case, position: int, nic: NicSpec) -> str:
    if nic.tap is None:
        return derived_tap(case, position)
    length = len(nic.tap.encode())
    if not 1 <= length <= _TAP_CHARS:
        case.notes.refuse(
            "plan.tap-name-length",
            f"the tap name {nic.tap!r} has {length} bytes; 1 to {_TAP_CHARS} are accepted",
            hint="shorten nic.tap, or leave it out",
        )
    holders = case.others.taps.get(nic.tap, ())
    if nic.tap in foreign_links(case) and not holders:
        holders = ("host",)
    _check_unclaimed(case, "plan.tap-held", ("link name", "nic.tap"), nic.tap, holders)
    return nic.tap


def _mac(case: Case, position: int, nic: NicSpec) -> str:
    """As written, else as the guest has seen it, else derived."""
    recorded = case.record.macs.get(f"nic:{position}") if case.record else None
    mac = (nic.mac or recorded or derived_mac(case, position)).lower()
    _check_unclaimed(case, "plan.mac-held", ("MAC address", "nic.mac"), mac, case.others.macs.get(mac, ()))
    return mac


def _check_unclaimed(case: Case, code: str, what_and_key: tuple[str, str], value: str, names: tuple[str, ...]) -> None:
    what, key = what_and_key
    if names:
        remedy = "remove that link" if names == ("host",) else f"stop {names_text(names)}"
        case.notes.refuse(
            code,
            f"the {what} {value} belongs to {'the host' if names == ('host',) else names_text(names)}",
            held_by=tuple((name, value) for name in sorted(names)),
            hint=f"choose another {key}, leave it out to have one derived, or {remedy}",
        )


def _vhost(case: Case, position: int, nic: NicSpec) -> bool:
    if nic.vhost and not case.facts.vhost_net:
        case.notes.refuse(
            "plan.vhost-absent",
            f"nic[{position}].vhost = true, and this host has no usable /dev/vhost-net (QEMU 7.2 would abort in an assertion)",
            hint="load the module (modprobe vhost_net) and let the daemon open the device, or leave vhost out",
        )
    return case.facts.vhost_net if nic.vhost is None else nic.vhost


def _check_own_addresses(case: Case, nics: tuple[NicPlan, ...]) -> None:
    for code, what, values in (
        ("plan.mac-twice", "MAC address", [nic.mac for nic in nics]),
        ("plan.tap-twice", "tap", [nic.tap for nic in nics]),
    ):
        for value in sorted({value for value in values if values.count(value) > 1}):
            case.notes.refuse(
                code,
                f"two nics of this VM have the {what} {value}",
                hint="choose another for one of them, or leave it out",
            )
