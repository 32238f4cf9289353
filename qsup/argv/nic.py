"""[[nic]]: a tap that comes as descriptors, one per queue, and a virtio-net device.

Source: QEMU 7.2, qapi/net.json (NetdevTapOptions), hw/net/virtio-net.c.
"""

from __future__ import annotations

from qsup.argv.board import pci_address, pci_bus_of
from qsup.argv.caps import QemuCaps
from qsup.argv.option import FdNeed, Option, fd_token
from qsup.argv.syntax import JsonValue, json_text
from qsup.plan.vmplan import NicPlan, VmPlan


def options_of_nics(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """All nics: backend, then device."""
    options: list[Option] = []
    for position, nic in enumerate(plan.nics):
        options += [_netdev_of(position, nic), _device_of(plan, position, nic)]
    return options


def fds_of_nics(plan: VmPlan) -> list[FdNeed]:
    """Per nic and queue the tap, and vhost-net where it is used."""
    needs: list[FdNeed] = []
    for nic in plan.nics:
        queues = range(nic.queues)
        needs += [FdNeed(_tap_fd(nic, queue), "tap", nic.nic_id, readonly=False, queue=queue) for queue in queues]
        if nic.vhost:
            needs += [FdNeed(_vhost_fd(nic, queue), "vhost", nic.nic_id, readonly=False, queue=queue) for queue in queues]
    return needs


def _tap_fd(nic: NicPlan, queue: int) -> str:
    return f"{nic.nic_id}.tap{queue}"


def _vhost_fd(nic: NicPlan, queue: int) -> str:
    return f"{nic.nic_id}.vhost{queue}"


def _netdev_id(nic: NicPlan) -> str:
    return f"{nic.nic_id}.tap"


def _netdev_of(position: int, nic: NicPlan) -> Option:
    taps = [fd_token(_tap_fd(nic, queue)) for queue in range(nic.queues)]
    vhosts = [fd_token(_vhost_fd(nic, queue)) for queue in range(nic.queues)]
    plural = "s" if nic.queues > 1 else ""
    properties: dict[str, JsonValue] = {"type": "tap", "id": _netdev_id(nic), f"fd{plural}": ":".join(taps)}
    properties["vhost"] = nic.vhost
    if nic.vhost:
        properties[f"vhostfd{plural}"] = ":".join(vhosts)
    ways = f"queues = {nic.queues}, vhost = {str(nic.vhost).lower()}"
    return Option("-netdev", json_text(properties), f"[[nic]] {position}: bridge = {nic.bridge} through {nic.tap}, {ways}")


def _device_of(plan: VmPlan, position: int, nic: NicPlan) -> Option:
    properties: dict[str, JsonValue] = {
        "driver": "virtio-net-pci",
        "id": nic.nic_id,
        "netdev": _netdev_id(nic),
        "mac": nic.mac,
        "bus": pci_bus_of(plan.machine),
        "addr": pci_address(nic.pci_slot),
    }
    if nic.queues > 1:
        # Two vectors per queue pair, one for the configuration, one for the control queue.
        properties |= {"mq": True, "vectors": 2 * nic.queues + 2}
    if nic.mtu is not None:
        properties["host_mtu"] = nic.mtu
    if nic.boot_index is None:
        properties["romfile"] = ""
    elif plan.boot.kernel is None:
        properties["bootindex"] = nic.boot_index
    mtu = "" if nic.mtu is None else f", mtu = {nic.mtu}"
    why = f"[[nic]] {position}: mac = {nic.mac}{mtu}; rule: PCI slot from the guest record"
    return Option("-device", json_text(properties), why)
