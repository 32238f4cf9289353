"""[[disk]]: two block nodes for each image of the chain, written out whole, and one virtio-blk device on top.

Every image is a node of its own because QEMU's uid may open none of them: a backing file that is only implied by the image
above it would be opened by name, and fail. The nodes stand bottom first, since a node must exist before it is referred to.

Node names: `disk0.1` is image 1 of disk0's chain (0 = top), `disk0.1.file` the file below it.
Source: QEMU 7.2, qapi/block-core.json (BlockdevOptions), docs/system/qemu-block-drivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from qsup.argv.board import pci_address, pci_bus_of
from qsup.argv.caps import QemuCaps
from qsup.argv.fdsets import add_fd_option, disk_image_set, fdset_path
from qsup.argv.option import FdNeed, Option
from qsup.argv.syntax import JsonValue, json_text, on_off
from qsup.plan.vmplan import DiskPlan, ImagePlan, VmPlan


@frozen
class CacheFlags:
    """A cache mode as QEMU takes it apart: host page cache passed by, flushes ignored, guest sees a write cache."""

    direct: bool
    no_flush: bool
    write_cache: bool


CACHE_FLAGS: Final[Mapping[str, CacheFlags]] = {
    "none": CacheFlags(direct=True, no_flush=False, write_cache=True),
    "writeback": CacheFlags(direct=False, no_flush=False, write_cache=True),
    "writethrough": CacheFlags(direct=False, no_flush=False, write_cache=False),
    "directsync": CacheFlags(direct=True, no_flush=False, write_cache=False),
    "unsafe": CacheFlags(direct=False, no_flush=True, write_cache=True),
}


def options_of_disks(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """All disks: the fd sets and nodes of each chain, bottom first, then the device."""
    options: list[Option] = []
    for position, disk in enumerate(plan.disks):
        for depth in reversed(range(len(disk.chain))):
            options += _image_options(position, disk, depth)
        options.append(_device_of(plan, position, disk))
    return options


def fds_of_disks(plan: VmPlan) -> list[FdNeed]:
    """One descriptor per image."""
    return [_image_fd(disk, depth) for disk in plan.disks for depth in range(len(disk.chain))]


def node_name(disk: DiskPlan, depth: int) -> str:
    """The node of an image's format; 0 is the top, to which the device is connected."""
    return f"{disk.disk_id}.{depth}"


def _image_options(position: int, disk: DiskPlan, depth: int) -> list[Option]:
    image = disk.chain[depth]
    set_number = disk_image_set(position, depth)
    flags = CACHE_FLAGS[disk.cache]
    cache = {"direct": flags.direct, "no-flush": flags.no_flush}
    node = node_name(disk, depth)
    shared: dict[str, JsonValue] = {"read-only": image.readonly, "cache": cache, "discard": disk.discard}
    file_node: dict[str, JsonValue] = {
        "driver": "host_device" if image.block_device else "file",
        "node-name": f"{node}.file",
        "filename": fdset_path(set_number),
        "aio": disk.aio,
        "locking": "auto",
        "auto-read-only": False,
        **shared,
    }
    format_node: dict[str, JsonValue] = {"driver": image.format, "node-name": node, "file": f"{node}.file", **shared}
    if image.format == "qcow2":
        below = depth + 1
        format_node["backing"] = node_name(disk, below) if below < len(disk.chain) else None
    key = f"[[disk]] {position}:"
    return [
        add_fd_option(_image_fd(disk, depth), set_number),
        Option("-blockdev", json_text(file_node), f"{key} cache = {disk.cache}, aio = {disk.aio}, discard = {disk.discard}"),
        Option("-blockdev", json_text(format_node), f"{key} {_why_image(image, depth)}"),
    ]


def _image_fd(disk: DiskPlan, depth: int) -> FdNeed:
    image = disk.chain[depth]
    direct = CACHE_FLAGS[disk.cache].direct
    return FdNeed(node_name(disk, depth), "image", image.path, readonly=image.readonly, direct=direct)


def _why_image(image: ImagePlan, depth: int) -> str:
    place = f"path = {image.path}" if depth == 0 else f"backing image {depth} is {image.path}"
    return f"{place}, format = {image.format}{', read-only' if image.readonly else ''}"


def _device_of(plan: VmPlan, position: int, disk: DiskPlan) -> Option:
    properties: dict[str, JsonValue] = {
        "driver": "virtio-blk-pci",
        "id": disk.disk_id,
        "drive": node_name(disk, 0),
        "bus": pci_bus_of(plan.machine),
        "addr": pci_address(disk.pci_slot),
        "write-cache": on_off(CACHE_FLAGS[disk.cache].write_cache),
    }
    if disk.queue_threads:
        properties |= _queue_properties(disk)
    elif disk.iothread_id is not None:
        properties["iothread"] = disk.iothread_id
    if disk.serial is not None:
        properties["serial"] = disk.serial
    # QEMU gives a directly loaded kernel boot index 0 and refuses a device that has the same (7.2, x86_load_linux).
    if plan.boot.kernel is None:
        properties["bootindex"] = disk.boot_index
    why = f"[[disk]] {position}: iothread = {str(disk.iothread_id is not None).lower()}; rule: PCI slot from the guest record"
    if disk.queue_threads:
        why += "; rule: each queue is served on the guest node of its vCPU"
    return Option("-device", json_text(properties), why)


def _queue_properties(disk: DiskPlan) -> dict[str, JsonValue]:
    """Each queue of the disk is served by one of its iothreads.

    Source: QEMU 9.0, hw/virtio/iothread-vq-mapping.c: every queue must be named once, below num-queues.
    """
    mapping: list[dict[str, str | list[int]]] = [
        {"iothread": one.iothread_id, "vqs": list(one.queues)} for one in disk.queue_threads
    ]
    return {"num-queues": sum(len(one.queues) for one in disk.queue_threads), "iothread-vq-mapping": mapping}
