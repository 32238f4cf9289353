"""The large mappings of a process with their pages by host node: /proc/PID/maps joined with /proc/PID/numa_maps.

Strategy: both files are read as a stream; mappings that are no memory backend by their size are left out. Counting walks the
page tables of base pages (about 5 ms per GiB; hugepages are free): call it in a worker thread. Source: man 5 numa_maps.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable

from qsup.cpuset import parse_cpulist
from qsup.errors import KernelRefused
from qsup.truth.memory import MappingFacts

_RANGE = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ", re.ASCII)
_LINE = re.compile(
    r"([0-9a-f]{1,16}) (prefer \(many\)|weighted interleave|[a-z]+)(?:=[a-z|]+)?(?::([0-9,-]{1,4096}))?(?= |$)", re.ASCII
)
_NODE_COUNT = re.compile(r" N([0-9]{1,6})=([0-9]{1,18})(?= |$)", re.ASCII)
_PAGE_SIZE = re.compile(r" kernelpagesize_kB=([0-9]{1,12})(?= |$)", re.ASCII)
_POLICIES = {"prefer": "preferred", "prefer (many)": "preferred", "local": "default", "weighted interleave": "interleave"}


def read_mappings(pid: int, sizes_bytes: Collection[int]) -> tuple[MappingFacts, ...]:
    """The mappings of exactly these sizes, ascending by address; none where the process is gone.

    Where the kernel has no NUMA, policies are None and nothing is counted.

    Raises:
        KernelRefused: host.pages-unreadable.

    Touches:
        /proc/PID/maps, /proc/PID/numa_maps.
    """
    path = f"/proc/{pid}/maps"
    try:
        with open(path, encoding="ascii", errors="replace") as lines:
            found = ranges_of(lines, sizes_bytes)
        path = f"/proc/{pid}/numa_maps"
        try:
            with open(path, encoding="ascii", errors="replace") as lines:
                return mappings_of(lines, found)
        except FileNotFoundError:
            return tuple(MappingFacts(start, size) for start, size in sorted(found.items()))
    except (FileNotFoundError, ProcessLookupError):
        return ()
    except OSError as error:
        message = f"the pages of process {pid} cannot be counted: {error.strerror}"
        hint = "qsup must be root, or have CAP_SYS_PTRACE"
        raise KernelRefused("host.pages-unreadable", path, error.errno or errno.EIO, message, hint) from None


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


def mappings_of(lines: Iterable[str], ranges: dict[int, int]) -> tuple[MappingFacts, ...]:
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
