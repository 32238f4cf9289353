"""The sizes of a VM's pages as views tell them: all of them, and the one size of hugepages where there is no other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qsup.plan.vmplan import VmPlan
from qsup.spec.memory import BASE_PAGE_BYTES, MemorySpec, hugepages_by_size


def pages_planned(plan: VmPlan) -> dict[str, Any]:
    """`page_size_bytes` and `page_sizes_bytes` of a plan."""
    huge = {node.page_size_bytes for node in plan.guest_nodes if node.hugepages}
    return _told(huge, {node.page_size_bytes for node in plan.guest_nodes if not node.hugepages})


def pages_asked(memory: MemorySpec) -> dict[str, Any]:
    """The same of a file."""
    sizes = hugepages_by_size(memory)
    return _told({size for size in sizes if size is not None}, {BASE_PAGE_BYTES} if None in sizes else ())


def _told(huge: Collection[int], base: Collection[int]) -> dict[str, Any]:
    """`page_size_bytes` is None on base pages, and on pages of several sizes."""
    one = next(iter(huge)) if len(huge) == 1 and not base else None
    return {"page_size_bytes": one, "page_sizes_bytes": tuple(sorted({*huge, *base}, reverse=True))}
