"""A host that never changes, for the golden files: two nodes of eight cores with two threads each.

pCPUs 0-7 and 16-23 are node 0, 8-15 and 24-31 node 1; pCPU n and n + 16 are siblings. Each node has 64 GiB, 8192 free pages
of 2 MiB and 16 of 1 GiB. Every file, image and bridge that a VM names is there; an image called `…-on-base.qcow2` lies on
`base.qcow2` beside it, which lies on `base.raw`.
"""

from __future__ import annotations

from qsup.bytesize import GIB, MIB
from qsup.plan.host_facts import (
    BridgeFacts,
    FileFacts,
    HostFacts,
    HostNodeFacts,
    ImageFacts,
    PcpuFacts,
    PoolFacts,
)
from qsup.spec.vmspec import VmSpec

CORES_PER_NODE = 8
NODES = (0, 1)
SIBLING_OFFSET = CORES_PER_NODE * len(NODES)


def host_for(spec: VmSpec) -> HostFacts:
    """The host, with what the spec names."""
    boot = spec.boot
    named = (boot.bios, boot.kernel, boot.initrd, boot.uefi_code, boot.uefi_vars)
    images = [image for disk in spec.disks for image in _images(disk.path, disk.format)]
    return HostFacts(
        pcpus=tuple(_pcpu(number) for number in range(2 * SIBLING_OFFSET)),
        nodes=tuple(_node(number) for number in NODES),
        bridges={nic.bridge: BridgeFacts(nic.bridge, 1500) for nic in spec.nics},
        images={image.path: image for image in images},
        files={path: FileFacts(path) for path in named if path is not None},
        vhost_net=True,
        uefi_code="/usr/share/OVMF/OVMF_CODE_4M.fd",
        uefi_vars="/usr/share/OVMF/OVMF_VARS_4M.fd",
    )


def _pcpu(number: int) -> PcpuFacts:
    core = number % SIBLING_OFFSET
    node = core // CORES_PER_NODE
    return PcpuFacts(pcpu=number, host_node=node, socket=node, die=0, core=core, l3=node)


def _node(number: int) -> HostNodeFacts:
    distances = {other: 10 if other == number else 21 for other in NODES}
    pools = (PoolFacts(2 * MIB, total=8192, free=8192), PoolFacts(GIB, total=16, free=16))
    return HostNodeFacts(number, 64 * GIB, 60 * GIB, distances, pools)


def _images(path: str, image_format: str) -> list[ImageFacts]:
    if not path.endswith("-on-base.qcow2"):
        return [_image(path, image_format)]
    directory = path.rpartition("/")[0]
    below, bottom = f"{directory}/base.qcow2", f"{directory}/base.raw"
    return [_image(path, "qcow2", below, "qcow2"), _image(below, "qcow2", bottom, "raw"), _image(bottom, "raw")]


def _image(path: str, image_format: str, backing: str | None = None, backing_format: str | None = None) -> ImageFacts:
    return ImageFacts(
        path,
        image_format,
        virtual_size_bytes=20 * GIB,
        size_bytes=GIB,
        backing=backing,
        backing_format=backing_format,
        file_id=path,
        block_device=path.startswith("/dev/"),
    )
