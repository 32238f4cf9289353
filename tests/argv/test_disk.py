"""[[disk]] on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qsup.argv.build import build
from qsup.argv.fdsets import disk_image_set
from qsup.argv.option import FdNeed
from qsup.plan.vmplan import BootPlan, DiskPlan, ImagePlan, IothreadPlan
from tests.argv.plans import CAPS, disk, values_of, vm_plan

CHAIN = (
    ImagePlan("/srv/top.qcow2", "qcow2", False),
    ImagePlan("/srv/mid.qcow2", "qcow2", True),
    ImagePlan("/srv/base.raw", "raw", True),
)


def nodes_of(plan: DiskPlan) -> dict[str, dict[str, Any]]:
    argv = build(vm_plan(disks=(plan,)), CAPS)
    return {node["node-name"]: node for node in map(json.loads, values_of(argv, "-blockdev"))}


def device_of(plan: DiskPlan, **changes: Any) -> dict[str, Any]:
    argv = build(vm_plan(disks=(plan,), iothreads=(IothreadPlan("iothread0", frozenset({0})),), **changes), CAPS)
    (device,) = [found for found in map(json.loads, values_of(argv, "-device")) if found["driver"] == "virtio-blk-pci"]
    assert isinstance(device, dict)
    return device


def test_each_image_of_the_chain_is_written_out() -> None:
    nodes = nodes_of(disk(0, CHAIN))
    assert list(nodes) == ["disk0.2.file", "disk0.2", "disk0.1.file", "disk0.1", "disk0.0.file", "disk0.0"]
    assert nodes["disk0.0"]["backing"] == "disk0.1"
    assert nodes["disk0.1"]["backing"] == "disk0.2"
    assert "backing" not in nodes["disk0.2"], "raw has no backing image, and QEMU refuses the key"
    assert [nodes[f"disk0.{depth}"]["read-only"] for depth in range(3)] == [False, True, True]
    assert [nodes[f"disk0.{depth}.file"]["filename"] for depth in range(3)] == [
        "/dev/fdset/1000",
        "/dev/fdset/1001",
        "/dev/fdset/1002",
    ]


def test_the_bottom_says_that_nothing_is_below() -> None:
    node = nodes_of(disk(0, CHAIN[:1]))["disk0.0"]
    assert node["backing"] is None


def test_a_block_device_has_a_driver_of_its_own() -> None:
    nodes = nodes_of(disk(0, (ImagePlan("/dev/vg/lv", "qcow2", False, block_device=True), CHAIN[2])))
    assert nodes["disk0.0.file"]["driver"] == "host_device"
    assert nodes["disk0.1.file"]["driver"] == "file"


def test_descriptors_have_the_images_rights() -> None:
    needs = build(vm_plan(disks=(disk(0, CHAIN),)), CAPS).fds
    assert [need for need in needs if need.kind == "image"] == [
        FdNeed("disk0.0", "image", "/srv/top.qcow2", readonly=False, direct=True),
        FdNeed("disk0.1", "image", "/srv/mid.qcow2", direct=True),
        FdNeed("disk0.2", "image", "/srv/base.raw", direct=True),
    ]
    cached = build(vm_plan(disks=(disk(0, CHAIN, cache="writeback"),)), CAPS).fds
    assert [need.direct for need in cached if need.kind == "image"] == [False, False, False]


@pytest.mark.parametrize(
    ("cache", "direct", "no_flush", "write_cache"),
    [
        ("none", True, False, "on"),
        ("writeback", False, False, "on"),
        ("writethrough", False, False, "off"),
        ("directsync", True, False, "off"),
        ("unsafe", False, True, "on"),
    ],
)
def test_cache_modes(cache: str, direct: bool, no_flush: bool, write_cache: str) -> None:
    plan = disk(cache=cache, aio="threads")
    for node in nodes_of(plan).values():
        assert node["cache"] == {"direct": direct, "no-flush": no_flush}
    assert device_of(plan)["write-cache"] == write_cache


def test_the_device() -> None:
    assert device_of(disk(0, CHAIN, iothread_id="iothread0", serial="root", pci_slot=11, boot_index=3)) == {
        "driver": "virtio-blk-pci",
        "id": "disk0",
        "drive": "disk0.0",
        "bus": "pcie.0",
        "addr": "0xb",
        "write-cache": "on",
        "iothread": "iothread0",
        "serial": "root",
        "bootindex": 3,
    }


def test_a_loaded_kernel_keeps_the_boot_order_for_itself() -> None:
    assert "bootindex" not in device_of(disk(), boot=BootPlan(kernel="/srv/k"))


def test_fd_set_numbers_depend_on_the_position_only() -> None:
    first = build(vm_plan(disks=(disk(0, CHAIN[:1]), disk(1))), CAPS)
    second = build(vm_plan(disks=(disk(0, CHAIN), disk(1))), CAPS)
    wanted = "fd=@fd:disk1.0@,set=2000,opaque=disk1.0"
    assert wanted in values_of(first, "-add-fd")
    assert wanted in values_of(second, "-add-fd")
    with pytest.raises(ValueError, match="no fd set numbers"):
        disk_image_set(0, 1000)
