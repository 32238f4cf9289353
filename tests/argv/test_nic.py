"""[[nic]] on the command line."""

from __future__ import annotations

import json
from typing import Any

from qsup.argv.build import build
from qsup.argv.option import FdNeed
from qsup.plan.vmplan import BootPlan, NicPlan
from tests.argv.plans import CAPS, nic, values_of, vm_plan


def parts_of(plan: NicPlan, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    argv = build(vm_plan(nics=(plan,), **changes), CAPS)
    (netdev,) = map(json.loads, values_of(argv, "-netdev"))
    (device,) = [found for found in map(json.loads, values_of(argv, "-device")) if found["driver"] == "virtio-net-pci"]
    return netdev, device


def test_one_queue() -> None:
    netdev, device = parts_of(nic())
    assert netdev == {"type": "tap", "id": "net0.tap", "fd": "@fd:net0.tap0@", "vhost": False}
    assert device == {
        "driver": "virtio-net-pci",
        "id": "net0",
        "netdev": "net0.tap",
        "mac": "52:54:00:00:00:00",
        "bus": "pcie.0",
        "addr": "0xa",
        "romfile": "",
    }


def test_one_queue_with_vhost() -> None:
    netdev, _ = parts_of(nic(vhost=True))
    assert netdev["vhost"] is True
    assert netdev["vhostfd"] == "@fd:net0.vhost0@"


def test_several_queues() -> None:
    netdev, device = parts_of(nic(queues=3, vhost=True, mtu=9000))
    assert netdev["fds"] == "@fd:net0.tap0@:@fd:net0.tap1@:@fd:net0.tap2@"
    assert netdev["vhostfds"] == "@fd:net0.vhost0@:@fd:net0.vhost1@:@fd:net0.vhost2@"
    assert (device["mq"], device["vectors"], device["host_mtu"]) == (True, 8, 9000)


def test_a_nic_that_boots_keeps_its_rom() -> None:
    _, device = parts_of(nic(boot_index=2))
    assert device["bootindex"] == 2
    assert "romfile" not in device


def test_a_loaded_kernel_keeps_the_boot_order_for_itself() -> None:
    _, device = parts_of(nic(boot_index=0), boot=BootPlan(kernel="/srv/k"))
    assert "bootindex" not in device


def test_descriptors_name_their_queue() -> None:
    needs = build(vm_plan(nics=(nic(queues=2, vhost=True),)), CAPS).fds
    assert [need for need in needs if need.kind in {"tap", "vhost"}] == [
        FdNeed("net0.tap0", "tap", "net0", readonly=False, queue=0),
        FdNeed("net0.tap1", "tap", "net0", readonly=False, queue=1),
        FdNeed("net0.vhost0", "vhost", "net0", readonly=False, queue=0),
        FdNeed("net0.vhost1", "vhost", "net0", readonly=False, queue=1),
    ]
