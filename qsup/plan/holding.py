"""Holding: what one VM holds of the host, and how much of that its process has taken already."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from qsup.plan.vmplan import VmPlan


@frozen
class Holding:
    """What one VM holds.

    `pages_taken` counts, per (host node, page size), the pages that the VM's process has already taken out of the pool's
    free count; what is promised and not yet taken must be kept back for it. `base_taken_bytes` is the same for base pages,
    per host node. `grown`: its pools have grown for it, or are about to; from then on what came is in the pools' own figures.
    """

    plan: VmPlan
    pages_taken: Mapping[tuple[int, int], int] = field(factory=dict)
    base_taken_bytes: Mapping[int, int] = field(factory=dict)
    grown: bool = False
