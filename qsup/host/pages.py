"""Counts the pages that a process has, by host node and page size. Source: man 5 numa_maps, man 5 proc_pid_smaps."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from qsup.errors import KernelRefused
from qsup.host.smaps import smaps_mappings
from qsup.host.sysfs import rooted

_NODE_COUNT = re.compile(r" N([0-9]{1,6})=([0-9]{1,18})(?= |$)", re.ASCII)
_PAGE_SIZE = re.compile(r" kernelpagesize_kB=([0-9]{1,12})(?= |$)", re.ASCII)


def pages_taken(pid: int, root: str = "/") -> Mapping[tuple[int, int], int]:
    """The pages that the process has touched, keyed by (host node, page size in bytes).

    Transparent huge pages count as base pages, as in the kernel's own list. A process that is gone has none. Reading walks the
    page tables of base pages (about 5 ms per GiB; hugepages are free): call it in a worker thread.

    Raises:
        KernelRefused: host.pages-unreadable.

    Touches:
        /proc/PID/numa_maps, else /proc/PID/smaps (everything on node 0: a kernel without NUMA).
    """
    for name, count in (("numa_maps", count_numa_maps), ("smaps", count_smaps)):
        path = f"/proc/{pid}/{name}"
        try:
            with open(rooted(root, path), encoding="ascii", errors="replace") as lines:
                return count(lines)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError as error:
            message = f"the pages of process {pid} cannot be counted: {error.strerror}"
            raise KernelRefused("host.pages-unreadable", path, error.errno or errno.EIO, message) from None
    return {}


def count_numa_maps(lines: Iterable[str]) -> dict[tuple[int, int], int]:
    """The pages in the lines of numa_maps, keyed by (host node, page size in bytes); lines that tell nothing are skipped."""
    pages: Counter[tuple[int, int]] = Counter()
    for line in lines:
        size = _PAGE_SIZE.search(line)
        if size is None:
            continue
        for node, count in _NODE_COUNT.findall(line):
            pages[int(node), int(size[1]) << 10] += int(count)
    return dict(pages)


def count_smaps(lines: Iterable[str]) -> dict[tuple[int, int], int]:
    """The pages in the lines of smaps, all on node 0, keyed like `count_numa_maps`."""
    pages: Counter[tuple[int, int]] = Counter()
    for _, mapping in smaps_mappings(lines):
        if mapping.page_size_bytes and mapping.held_bytes:
            pages[0, mapping.page_size_bytes] += mapping.held_bytes // mapping.page_size_bytes
    return dict(pages)


def base_page_bytes() -> int:
    """The size of this machine's base pages.

    Touches:
        sysconf.
    """
    return os.sysconf("SC_PAGE_SIZE")
