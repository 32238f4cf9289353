"""Counting pages: numa_maps, smaps, and processes that are not there."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import GIB, KIB, MIB
from qsup.host.pages import base_page_bytes, count_numa_maps, count_smaps, pages_taken

NUMA_MAPS = """\
5573a0000000 default file=/usr/bin/qemu\\040N0=9 mapped=10 active=0 N0=10 kernelpagesize_kB=4
7f0000000000 bind:1 file=/anon_hugepage\\040(deleted) huge anon=512 dirty=512 N0=12 N1=500 kernelpagesize_kB=2048
7f4000000000 prefer:0 file=/dev/hugepages/x huge dirty=3 N1=3 kernelpagesize_kB=1048576
7f8000000000 default anon=700 dirty=700 N0=600 N1=100 kernelpagesize_kB=4
7f9000000000 default
7fffe0000000 default stack anon=3 dirty=3 N0=3 kernelpagesize_kB=4
"""

SMAPS = """\
7f0000000000-7f0040000000 rw-p 00000000 00:0f 12 /anon_hugepage (deleted)
Size:            1048576 kB
KernelPageSize:     2048 kB
MMUPageSize:        2048 kB
Rss:                   0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:    4096 kB
5573a0000000-5573a0001000 r-xp 00000000 fe:00 5 /usr/bin/qemu
KernelPageSize:        4 kB
Rss:                  40 kB
"""


def test_numa_maps() -> None:
    assert count_numa_maps(NUMA_MAPS.splitlines(keepends=True)) == {
        (0, 4 * KIB): 613,
        (1, 4 * KIB): 100,
        (0, 2 * MIB): 12,
        (1, 2 * MIB): 500,
        (1, GIB): 3,
    }


def test_smaps() -> None:
    assert count_smaps(SMAPS.splitlines(keepends=True)) == {(0, 2 * MIB): 2, (0, 4 * KIB): 10}


def test_this_process_has_base_pages() -> None:
    pages = pages_taken(os.getpid())
    assert sum(count for (_, size), count in pages.items() if size == base_page_bytes()) > 100


def test_a_process_that_is_gone_has_none() -> None:
    assert pages_taken(1 << 22) == {}


@given(st.lists(st.text(max_size=60)))
def test_junk_lines_count_nothing_negative(lines: list[str]) -> None:
    assert all(count >= 0 for count in [*count_numa_maps(lines).values(), *count_smaps(lines).values()])
