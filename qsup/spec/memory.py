"""[memory]: how much, on which pages, on which nodes."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

MemoryPolicy = Literal["bind", "preferred", "interleave"]


@frozen
class GuestNodeSpec:
    """One guest NUMA node as written: its vCPUs, its size, the host nodes its memory is bound to (None: qsup chooses)."""

    vcpus: frozenset[int]
    size_bytes: int
    host_nodes: frozenset[int] | None = None


@frozen
class MemorySpec:
    """What `[memory]` asks.

    `hugepages_bytes` is the page size (2 MiB or 1 GiB) or None for base pages. `prealloc` None means: on with hugepages,
    off with base pages. `nodes` None is "auto". `host_nodes` restricts an "auto" placement to these host nodes.
    """

    size_bytes: int
    hugepages_bytes: int | None = None
    prealloc: bool | None = None
    nodes: tuple[GuestNodeSpec, ...] | None = None
    host_nodes: frozenset[int] | None = None
    policy: MemoryPolicy = "bind"
