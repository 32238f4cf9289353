"""HostFacts: what the planner must know of the machine. `host/` fills it; nothing here reads anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from attrs import field, frozen

from qsup.plan.host_index import HostIndex
from qsup.plan.pcpu_facts import PcpuFacts

__all__ = ["BridgeFacts", "FileFacts", "HostFacts", "HostNodeFacts", "ImageFacts", "PcpuFacts", "PoolFacts"]


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
    """One host NUMA node. `distances` maps every host node to the SLIT distance (10 = local).

    `memory_free_bytes` is what base pages can be taken from at once: free, or clean page cache that the kernel gives back.
    """

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
    `locked_by_other`: a process holds it so that it cannot be opened for writing (a reader that does not share writing is
    enough); `written_by_other`: one writes it, so that it cannot even be read. A VM that runs already is such a process.
    `file_id` is equal for two names of one file; None where there is none. `writable`: the daemon may open it for writing.
    `block_device`: it is one, which QEMU drives otherwise than a file.
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
    written_by_other: bool = False
    writable: bool = True
    file_id: str | None = None
    block_device: bool = False


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

    `links` are the names of all network links, bridges and taps among them; only bridges stand in `bridges`.

    `may_*` tell what the daemon's own rights allow; a plan that needs one that is missing is refused by name.
    `may_bind_memory` is False where the kernel has no NUMA or mbind(2) is forbidden: memory is then not bound.
    `cpu_vendor` is the processor's own name for its maker ("GenuineIntel", "AuthenticAMD"), empty where it is not told.
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
    links: frozenset[str] = frozenset()
    may_bind_memory: bool = True
    cpu_vendor: str = ""

    @cached_property
    def index(self) -> HostIndex:
        """The same pCPUs by number, core and node; computed once."""
        return HostIndex.of(self.pcpus, {node.host_node: node.distances for node in self.nodes})
