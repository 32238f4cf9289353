"""HostPolicy: the host-wide rules that every placement obeys, from the settings and the daemon's directories."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.bytesize import GIB, MIB

_TWO_MIB = 2 * MIB


def _per_node(values: int | tuple[int, ...]) -> tuple[int, ...]:
    return (values,) if isinstance(values, int) else values


@frozen
class HostPolicy:
    """`housekeeping` None: chosen by the planner. Directories are absolute, without a trailing slash.

    `host_nodes` are those that VMs may be placed on (None: all); `strategy` decides between seats of equal cost; `overcommit`
    is how many shared vCPUs a pool pCPU may carry (None: any number). `reserved_…` are counted by host node, the last entry
    for all further nodes; one number stands for all. `identity_seed` (the host's machine id, say) goes into derived uuids and
    MAC addresses, so that VMs of one name on two hosts differ.
    """

    run_dir: str = "/run/qsup"
    state_dir: str = "/var/lib/qsup"
    qemu: str = "qemu-system-x86_64"
    housekeeping: frozenset[int] | None = None
    reserved_memory_bytes: tuple[int, ...] = field(default=(512 * MIB,), converter=_per_node)
    grow_hugepages: bool = True
    uid_first: int = 7_000_000
    uid_count: int = 10_000
    create_bridges: bool = False
    identity_seed: str = ""
    host_nodes: frozenset[int] | None = None
    strategy: Literal["pack", "spread"] = "pack"
    overcommit: int | None = None
    reserved_2mib_pages: tuple[int, ...] = field(default=(0,), converter=_per_node)
    reserved_1gib_pages: tuple[int, ...] = field(default=(0,), converter=_per_node)

    def reserved_memory_on(self, host_node: int) -> int:
        """Bytes in base pages that are left to the host on this node."""
        return _of_node(self.reserved_memory_bytes, host_node)

    def reserved_pages_on(self, host_node: int, page_size_bytes: int) -> int:
        """Hugepages of this size that are left to others on this node."""
        table = {_TWO_MIB: self.reserved_2mib_pages, GIB: self.reserved_1gib_pages}
        return _of_node(table.get(page_size_bytes, (0,)), host_node)

    def allows(self, host_node: int) -> bool:
        """Whether VMs may be placed on this node."""
        return self.host_nodes is None or host_node in self.host_nodes


def _of_node(values: tuple[int, ...], host_node: int) -> int:
    return values[min(host_node, len(values) - 1)] if values else 0
