"""The order in which files that came together are planned, so that the result does not depend on the order of arrival."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.spec.cpu import placement_of
from qsup.spec.vmspec import VmSpec

_RANK = {"pinned": 0, "isolated": 1, "dedicated": 2, "shared": 3}


def batch_order(specs: Iterable[VmSpec]) -> tuple[VmSpec, ...]:
    """Least movable first: pinned, isolated, dedicated, shared; in each the largest first; then by name."""
    return tuple(
        sorted(specs, key=lambda spec: (_RANK[placement_of(spec.cpu)], -spec.cpu.vcpus, -spec.memory.size_bytes, spec.name))
    )
