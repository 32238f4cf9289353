"""HostFacts: what the planner must know of the machine. `host/` fills it; nothing here reads anything."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class PcpuFacts:
    """One host logical CPU. `core` is unique on the whole host (not per socket); `l3` numbers the groups sharing an L3 cache.

    `max_khz` and `core_type` ("performance", "efficient") are None where the kernel does not tell.
    """

    pcpu: int
    host_node: int
    socket: int
    die: int
    core: int
    l3: int | None = None
    online: bool = True
    isolated: bool = False
    nohz_full: bool = False
    max_khz: int | None = None
    core_type: str | None = None


@frozen
class PoolFacts:
    """A hugepage pool: pages of one size on one host node, counted in pages."""

    page_size_bytes: int
    total: int
    free: int
    reserved: int = 0
    surplus: int = 0


@frozen
class HostNodeFacts:
    """One host NUMA node. `distances` maps every host node to the SLIT distance (10 = local)."""

    host_node: int
    memory_total_bytes: int
    memory_free_bytes: int
    distances: Mapping[int, int]
    pools: tuple[PoolFacts, ...] = ()


@frozen
class ImageFacts:
    """One image file as the host sees it. `backing` is the file below it (qcow2), already resolved to an absolute path.

    `problem` says why it cannot be used (missing, unreadable, not what its format says, data file outside), else None.
    `backing_format` is what the image's header declares; None where it declares nothing.
    """

    path: str
    format: str
    virtual_size_bytes: int = 0
    size_bytes: int = 0
    backing: str | None = None
    backing_format: str | None = None
    problem: str | None = None
    locked_by_other: bool = False
    host_node: int | None = None


@frozen
class FileFacts:
    """A file that a plan names (kernel, initrd, firmware). `problem` says why it cannot be used, else None."""

    path: str
    problem: str | None = None
    world_readable: bool = True


@frozen
class BridgeFacts:
    """A bridge of the host. `host_node` is that of the NIC below it, where there is one and the kernel tells."""

    name: str
    mtu: int
    host_node: int | None = None


@frozen
class HostFacts:
    """The machine. `pcpus` and `nodes` ascend by number; `bridges`, `images`, `files` are keyed by name or path.

    `may_*` tell what the daemon's own rights allow; a plan that needs one that is missing is refused by name.
    """

    pcpus: tuple[PcpuFacts, ...]
    nodes: tuple[HostNodeFacts, ...]
    bridges: Mapping[str, BridgeFacts] = field(factory=dict)
    images: Mapping[str, ImageFacts] = field(factory=dict)
    files: Mapping[str, FileFacts] = field(factory=dict)
    kvm_problem: str | None = None
    vhost_net: bool = False
    kernel: tuple[int, int] = (6, 1)
    page_size_bytes: int = 4096
    uefi_code: str | None = None
    uefi_vars: str | None = None
    may_network: bool = True
    may_grow_pools: bool = True
    may_change_uid: bool = True
