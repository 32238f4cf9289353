"""The kernel's memory settings, swap, fragmentation, and the pools that are set for the next boot.

Source: Documentation/admin-guide/{mm/transhuge,mm/ksm,sysctl/vm,sysctl/kernel}.rst, man 5 proc (buddyinfo, swaps).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from qsup.host.audit.settings import told
from qsup.host.boot_settings import read_boot_settings
from qsup.host.pools import GLOBAL_DIR
from qsup.host.sysfs import list_dir, read_text
from qsup.plan.host_facts import HostFacts
from qsup.truth.audit.facts import BuddyRow, MemoryFacts

_THP = "/sys/kernel/mm/transparent_hugepage"
_KSM = "/sys/kernel/mm/ksm"
_BUDDY = re.compile(r"^Node\s+([0-9]{1,6}),\s+zone\s+\S+((?:\s+[0-9]{1,15})+)\s*$", re.ASCII | re.MULTILINE)
# Linux 6.7: Documentation/admin-guide/cgroup-v2.rst, mount options.
_ACCOUNTED = re.compile(r" - cgroup2 \S+ \S*memory_hugetlb_accounting", re.ASCII)
_LARGE_BYTES = 2 << 20


def read_memory(root: str, host: HostFacts) -> MemoryFacts:
    """Touches: /sys/kernel/mm, /proc/sys/{vm,kernel}, /proc/swaps, /proc/buddyinfo, what `read_boot_settings` touches."""
    return MemoryFacts(
        thp=told(root, f"{_THP}/enabled"),
        thp_defrag=told(root, f"{_THP}/defrag"),
        ksm_run=told(root, f"{_KSM}/run"),
        ksm_across=told(root, f"{_KSM}/merge_across_nodes"),
        numa_balancing=told(root, "/proc/sys/kernel/numa_balancing"),
        zone_reclaim=told(root, "/proc/sys/vm/zone_reclaim_mode"),
        swappiness=told(root, "/proc/sys/vm/swappiness"),
        swaps=_swaps(read_text(root, "/proc/swaps")),
        buddies=tuple(buddies_of(read_text(root, "/proc/buddyinfo") or "", host.page_size_bytes)),
        pools_at_boot=_pools_at_boot(root, host),
        hugetlb_in_cgroups=_ACCOUNTED.search(read_text(root, "/proc/self/mountinfo") or "") is not None,
        overcommit=tuple(told(root, f"{GLOBAL_DIR}/{name}/nr_overcommit_hugepages") for name in list_dir(root, GLOBAL_DIR)),
    )


def _swaps(text: str | None) -> tuple[str, ...] | None:
    """Each area with its use: "/dev/sda2: 12 of 4096 MiB"."""
    if text is None:
        return None
    rows = (line.split() for line in text.splitlines()[1:])
    return tuple(f"{row[0]}: {int(row[3]) >> 10} of {int(row[2]) >> 10} MiB" for row in rows if _is_area(row))


def _is_area(row: list[str]) -> bool:
    return len(row) >= 4 and row[2].isdigit() and row[3].isdigit()


def buddies_of(text: str, page_bytes: int) -> Iterable[BuddyRow]:
    """The free memory of each node in /proc/buddyinfo: column N counts blocks of 2^N pages."""
    free: dict[int, list[int]] = {}
    for node, columns in _BUDDY.findall(text):
        sizes = [(int(count) * page_bytes << order, page_bytes << order) for order, count in enumerate(columns.split())]
        row = free.setdefault(int(node), [0, 0])
        row[0] += sum(size for size, _ in sizes)
        row[1] += sum(size for size, block in sizes if block >= _LARGE_BYTES)
    return (BuddyRow(node, every, large) for node, (every, large) in sorted(free.items()))


def _pools_at_boot(root: str, host: HostFacts) -> dict[tuple[int, int], int]:
    settings = read_boot_settings(root)
    nodes = [node.host_node for node in host.nodes]
    keys = [(node.host_node, pool.page_size_bytes) for node in host.nodes for pool in node.pools]
    return {key: settings.pages_on(*key, nodes) for key in keys}
