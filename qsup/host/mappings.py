"""The large mappings of a process with their pages by host node: /proc/PID/maps joined with /proc/PID/numa_maps.

Strategy: the files are read as a stream; mappings that are no memory backend by their size are left out. Where numa_maps cannot
be read (a kernel without NUMA has none), smaps tells the sizes, and nobody the nodes. Counting walks the page tables of base
pages (about 5 ms per GiB; hugepages are free): call it in a worker thread. Source: man 5 numa_maps.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

from attrs import evolve

from qsup.cpuset import parse_cpulist
from qsup.errors import KernelRefused
from qsup.host.smaps import smaps_of
from qsup.host.sysfs import rooted
from qsup.truth.memory import MappingFacts

_RANGE = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ", re.ASCII)
_LINE = re.compile(
    r"([0-9a-f]{1,16}) (prefer \(many\)|weighted interleave|[a-z]+)(?:=[a-z|]+)?(?::([0-9,-]{1,4096}))?(?= |$)", re.ASCII
)
_NODE_COUNT = re.compile(r" N([0-9]{1,6})=([0-9]{1,18})(?= |$)", re.ASCII)
_PAGE_SIZE = re.compile(r" kernelpagesize_kB=([0-9]{1,12})(?= |$)", re.ASCII)
_POLICIES = {"prefer": "preferred", "prefer (many)": "preferred", "local": "default", "weighted interleave": "interleave"}


T = TypeVar("T")


def read_mappings(
    pid: int, sizes_bytes: Collection[int], *, transparent: bool = False, root: str = "/"
) -> tuple[MappingFacts, ...]:
    """The mappings of exactly these sizes, ascending by address; none where the process is gone.

    Where numa_maps cannot be read, policies are None and pages are not told by node.

    Args:
        transparent: tell also how much of them is in transparent huge pages, which walks the page tables once more.

    Raises:
        KernelRefused: host.pages-unreadable.

    Touches:
        /proc/PID/maps, /proc/PID/numa_maps, /proc/PID/smaps.
    """
    where = rooted(root, f"/proc/{pid}")
    try:
        ranges = _read(f"{where}/maps", lambda lines: ranges_of(lines, sizes_bytes))
        found = _counted(where, ranges)
        if transparent and any(mapping.transparent_huge_bytes is None and not mapping.hugetlb for mapping in found):
            with suppress(OSError):  # a kernel without smaps does not tell
                found = _with_transparent(found, _by_smaps(where, ranges))
        return found
    except OSError as error:
        if isinstance(error, ProcessLookupError) or not os.path.exists(f"{where}/maps"):
            return ()
        message = f"the pages of process {pid} cannot be counted: {error.strerror} ({error.filename})"
        hint = "qsup must be root, or have CAP_SYS_PTRACE"
        raise KernelRefused("host.pages-unreadable", where, error.errno or errno.EIO, message, hint) from None


def _counted(where: str, ranges: Mapping[int, int]) -> tuple[MappingFacts, ...]:
    try:
        return _read(f"{where}/numa_maps", lambda lines: mappings_of(lines, ranges))
    except ProcessLookupError:
        raise
    except OSError:
        return _by_smaps(where, ranges)


def _by_smaps(where: str, ranges: Mapping[int, int]) -> tuple[MappingFacts, ...]:
    told = _read(f"{where}/smaps", lambda lines: smaps_of(lines, ranges))
    return tuple(
        MappingFacts(
            start=start,
            size_bytes=ranges[start],
            page_size_bytes=mapping.page_size_bytes,
            hugetlb=mapping.hugetlb,
            held_bytes=mapping.held_bytes,
            transparent_huge_bytes=mapping.transparent_huge_bytes,
        )
        for start, mapping in sorted(told.items())
    )


def _with_transparent(found: Iterable[MappingFacts], told: Iterable[MappingFacts]) -> tuple[MappingFacts, ...]:
    huge_bytes = {mapping.start: mapping.transparent_huge_bytes for mapping in told}
    return tuple(evolve(mapping, transparent_huge_bytes=huge_bytes.get(mapping.start)) for mapping in found)


def _read(path: str, take: Callable[[Iterable[str]], T]) -> T:
    with open(path, encoding="ascii", errors="replace") as lines:
        return take(lines)


def ranges_of(lines: Iterable[str], sizes_bytes: Collection[int]) -> dict[int, int]:
    """start → size of the mappings in the lines of /proc/PID/maps that have one of these sizes."""
    found = {}
    for line in lines:
        match = _RANGE.match(line)
        if match:
            start = int(match[1], 16)
            size = int(match[2], 16) - start
            if size in sizes_bytes:
                found[start] = size
    return found


def mappings_of(lines: Iterable[str], ranges: Mapping[int, int]) -> tuple[MappingFacts, ...]:
    """The mappings in the lines of numa_maps that begin where `ranges` says, ascending by address."""
    found = []
    for line in lines:
        match = _LINE.match(line)
        start = int(match[1], 16) if match else None
        if match and start is not None and start in ranges:
            found.append(_mapping_of(line, start, ranges[start], match[2], match[3]))
    return tuple(sorted(found, key=lambda mapping: mapping.start))


def _mapping_of(line: str, start: int, size_bytes: int, policy: str, nodes: str | None) -> MappingFacts:
    page_size = _PAGE_SIZE.search(line)
    return MappingFacts(
        start=start,
        size_bytes=size_bytes,
        policy=_POLICIES.get(policy, policy),
        policy_nodes=_nodes_of(nodes),
        page_size_bytes=int(page_size[1]) << 10 if page_size else None,
        hugetlb=" huge" in line,
        pages=tuple(sorted((int(node), int(count)) for node, count in _NODE_COUNT.findall(line))),
    )


def _nodes_of(text: str | None) -> frozenset[int]:
    try:
        return parse_cpulist(text or "")
    except ValueError:
        return frozenset()
