"""What /proc/PID/smaps tells of a process' mappings: sizes, never nodes. Source: man 5 proc_pid_smaps.

Reading it walks the page tables of base pages, as numa_maps does (about 5 ms per GiB): call it in a worker thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import define

_RANGE = re.compile(r"([0-9a-f]{1,16})-[0-9a-f]{1,16} ", re.ASCII)
_SIZE = re.compile(r"([A-Za-z_]{1,32}):\s+([0-9]{1,15}) kB", re.ASCII)
_HELD = ("Rss", "Shared_Hugetlb", "Private_Hugetlb")
_TRANSPARENT = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")


@define
class SmapsMapping:
    """One mapping. `held_bytes` is there, `transparent_huge_bytes` of it in transparent huge pages."""

    page_size_bytes: int | None = None
    held_bytes: int = 0
    transparent_huge_bytes: int = 0
    hugetlb: bool = False

    def take(self, name: str, size_bytes: int) -> None:
        """One of the sizes that the kernel tells of it."""
        if name == "KernelPageSize":
            self.page_size_bytes = size_bytes
        elif name in _HELD:
            self.held_bytes += size_bytes
        elif name in _TRANSPARENT:
            self.transparent_huge_bytes += size_bytes


def smaps_of(lines: Iterable[str], starts: Iterable[int]) -> Mapping[int, SmapsMapping]:
    """The mappings in the lines of smaps that begin there, by address."""
    return dict(smaps_mappings(lines, frozenset(starts)))


def smaps_mappings(lines: Iterable[str], starts: frozenset[int] | None = None) -> Iterator[tuple[int, SmapsMapping]]:
    """(address, mapping) of all mappings in the lines of smaps, or of those that begin at `starts`."""
    start, current = 0, None
    for line in lines:
        head = _RANGE.match(line)
        if head:
            if current is not None:
                yield start, current
            start = int(head[1], 16)
            current = SmapsMapping() if starts is None or start in starts else None
        elif current is not None:
            _take(current, line)
    if current is not None:
        yield start, current


def _take(mapping: SmapsMapping, line: str) -> None:
    size = _SIZE.match(line)
    if size:
        mapping.take(size[1], int(size[2]) << 10)
    elif line.startswith("VmFlags:"):
        mapping.hugetlb = "ht" in line.split()
