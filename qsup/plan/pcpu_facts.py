"""PcpuFacts: what the planner must know of one logical CPU of the host."""

from __future__ import annotations

from attrs import frozen


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
