"""Reads the hugepage pools: per node and page size, counted in pages. Nothing here raises; writing is in hugepages.py.

Source: Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import evolve

from qsup.host.sysfs import NODE_DIR, is_dir, list_dir, read_count
from qsup.plan.host_facts import PoolFacts

GLOBAL_DIR = "/sys/kernel/mm/hugepages"
_POOL_NAME = re.compile(r"hugepages-([0-9]{1,12})kB", re.ASCII)


def pool_dir(root: str, host_node: int, page_size_bytes: int) -> str:
    """The pool's directory: the node's own, or the global one of a kernel without NUMA (its only node is 0)."""
    name = f"hugepages-{page_size_bytes >> 10}kB"
    if host_node == 0 and not is_dir(root, NODE_DIR):
        return f"{GLOBAL_DIR}/{name}"
    return f"{NODE_DIR}/node{host_node}/hugepages/{name}"


def page_sizes(root: str, directory: str) -> tuple[int, ...]:
    """The page sizes in bytes that the directory has pools of, ascending."""
    matches = (_POOL_NAME.fullmatch(name) for name in list_dir(root, directory))
    return tuple(sorted(int(match[1]) << 10 for match in matches if match))


def read_pool(host_node: int, page_size_bytes: int, root: str = "/") -> PoolFacts | None:
    """The pool, or None where the node or the size has none (`reserved` stays 0: see `read_pools`).

    Touches:
        /sys/devices/system/node/nodeN/hugepages/hugepages-*kB.
    """
    directory = pool_dir(root, host_node, page_size_bytes)
    total = read_count(root, f"{directory}/nr_hugepages")
    if total is None:
        return None
    free = read_count(root, f"{directory}/free_hugepages") or 0
    surplus = read_count(root, f"{directory}/surplus_hugepages") or 0
    return PoolFacts(page_size_bytes, total, min(free, total), surplus=min(surplus, total))


def read_pools(root: str, host_nodes: Iterable[int]) -> dict[int, tuple[PoolFacts, ...]]:
    """The pools of each node, ascending by page size.

    The kernel counts pages that are reserved and not yet touched for the whole host only; they are shared out over the
    nodes in proportion to their free pages, rounded up.
    """
    pools: dict[int, list[PoolFacts]] = {node: _pools_of_node(root, node) for node in host_nodes}
    every = [pool for of_node in pools.values() for pool in of_node]
    sizes = {pool.page_size_bytes for pool in every}
    waiting = {size: read_count(root, f"{GLOBAL_DIR}/hugepages-{size >> 10}kB/resv_hugepages") or 0 for size in sizes}
    free = {size: sum(pool.free for pool in every if pool.page_size_bytes == size) for size in sizes}
    return {
        node: tuple(
            evolve(pool, reserved=_share(waiting[pool.page_size_bytes], pool.free, free[pool.page_size_bytes]))
            for pool in of_node
        )
        for node, of_node in pools.items()
    }


def _pools_of_node(root: str, node: int) -> list[PoolFacts]:
    parent = pool_dir(root, node, 0).rpartition("/")[0]
    found = (read_pool(node, size, root) for size in page_sizes(root, parent))
    return [pool for pool in found if pool is not None]


def _share(waiting: int, free: int, all_free: int) -> int:
    if not all_free:
        return 0
    return min(free, -(-waiting * free // all_free))
