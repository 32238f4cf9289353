"""[cpu]: how many vCPUs, their guest topology, and where they may run."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Placement = Literal["dedicated", "isolated", "shared", "pinned"]


@frozen
class CpuSpec:
    """What `[cpu]` asks.

    `pin` has one non-empty pCPU set per vCPU (position = vcpu_index), only with placement "pinned".
    `emulator` None means the host's housekeeping pCPUs; else the set that was written.
    `sockets` and `cores` None mean: derived so that sockets × cores × threads = vcpus.
    """

    vcpus: int
    sockets: int | None = None
    cores: int | None = None
    threads: int = 1
    model: str | None = None
    placement: Placement = "shared"
    pin: tuple[frozenset[int], ...] | None = None
    emulator: frozenset[int] | None = None
