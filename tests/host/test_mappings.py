"""Mappings with their pages: the kernel's text, junk, and real memory of this process."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.errors import KernelRefused
from qsup.host import mappings
from qsup.host.mappings import mappings_of, ranges_of, read_mappings
from qsup.host.smaps import smaps_of
from qsup.truth.memory import MappingFacts

MAPS = """\
5573a0000000-5573a0001000 r-xp 00000000 fe:00 5                          /usr/bin/qemu
7f0000000000-7f0040000000 rw-s 00000000 00:0f 12                         /memfd:memory-backend-memfd (deleted)
7f4000000000-7f4040000000 rw-p 00000000 00:00 0
7f8000000000-7f8040000000 rw-p 00000000 00:00 0
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""
NUMA_MAPS = """\
5573a0000000 default file=/usr/bin/qemu mapped=1 N0=1 kernelpagesize_kB=4
7f0000000000 bind:1 file=/memfd:memory-backend-memfd\\040(deleted) huge dirty=512 N0=12 N1=500 kernelpagesize_kB=2048
7f4000000000 prefer (many):0-1 anon=700 dirty=700 N0=600 N1=100 kernelpagesize_kB=4
7f8000000000 interleave=static|relative:0,2
"""


def test_maps_and_numa_maps_together() -> None:
    ranges = ranges_of(MAPS.splitlines(keepends=True), {GIB})
    assert set(ranges.values()) == {GIB}
    assert mappings_of(NUMA_MAPS.splitlines(keepends=True), ranges) == (
        MappingFacts(0x7F0000000000, GIB, "bind", frozenset({1}), 2 * MIB, True, ((0, 12), (1, 500))),
        MappingFacts(0x7F4000000000, GIB, "preferred", frozenset({0, 1}), 4096, False, ((0, 600), (1, 100))),
        MappingFacts(0x7F8000000000, GIB, "interleave", frozenset({0, 2})),
    )


def test_memory_of_this_process() -> None:
    size = 37 * MIB  # no other mapping has this size
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_DONTFORK)  # flags of its own, as QEMU's backends have: it is merged with no neighbour
        memory[: 2 * MIB] = bytes(2 * MIB)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        found = {mapping.start: mapping for mapping in read_mappings(os.getpid(), {size})}
        alone = found[start]
        assert alone.policy == "default"
        assert sum(count for _, count in alone.pages) * (alone.page_size_bytes or 0) >= 2 * MIB


SMAPS = """\
5573a0000000-5573a0001000 r-xp 00000000 fe:00 5                          /usr/bin/qemu
Size:                  4 kB
KernelPageSize:        4 kB
Rss:                   4 kB
VmFlags: rd ex mr
7f0000000000-7f0040000000 rw-s 00000000 00:0f 12                         /memfd:memory-backend-memfd (deleted)
Size:            1048576 kB
KernelPageSize:     2048 kB
Rss:                   0 kB
Shared_Hugetlb:   522240 kB
Private_Hugetlb:    2048 kB
VmFlags: rd wr sh mr mw me ms de ht
7f4000000000-7f4040000000 rw-p 00000000 00:00 0
Size:            1048576 kB
KernelPageSize:        4 kB
Rss:              409600 kB
AnonHugePages:    204800 kB
ShmemPmdMapped:     2048 kB
FilePmdMapped:         0 kB
VmFlags: rd wr mr mw me dd
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """/proc/7 of a process whose pages only smaps tells."""
    folder = tmp_path / "proc/7"
    folder.mkdir(parents=True)
    (folder / "maps").write_text(MAPS)
    (folder / "smaps").write_text(SMAPS)
    return folder


def test_where_there_is_no_numa_maps_smaps_tells_the_sizes(proc: Path, tmp_path: Path) -> None:
    huge = MappingFacts(0x7F0000000000, GIB, page_size_bytes=2 * MIB, hugetlb=True, held_bytes=512 * MIB)
    base = MappingFacts(0x7F4000000000, GIB, page_size_bytes=4096, held_bytes=400 * MIB, transparent_huge_bytes=202 * MIB)
    assert read_mappings(7, {GIB}, root=str(tmp_path)) == (evolve(huge, transparent_huge_bytes=0), base)
    (proc / "smaps").unlink()
    with pytest.raises(KernelRefused, match=r"cannot be counted: No such file or directory \(.*/proc/7/smaps\)"):
        read_mappings(7, {GIB}, root=str(tmp_path))


def test_transparent_huge_pages_are_told_on_request(proc: Path, tmp_path: Path) -> None:
    (proc / "numa_maps").write_text(NUMA_MAPS)
    counted = mappings_of(NUMA_MAPS.splitlines(), ranges_of(MAPS.splitlines(), {GIB}))
    assert read_mappings(7, {GIB}, root=str(tmp_path)) == counted
    asked = read_mappings(7, {GIB}, transparent=True, root=str(tmp_path))
    assert [mapping.transparent_huge_bytes for mapping in asked] == [0, 202 * MIB, None]
    assert tuple(evolve(mapping, transparent_huge_bytes=None) for mapping in asked) == counted
    (proc / "smaps").unlink()
    assert read_mappings(7, {GIB}, transparent=True, root=str(tmp_path)) == counted, "a kernel without smaps"


def test_smaps_of_this_process_is_read() -> None:
    size = 41 * MIB
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_DONTFORK)
        memory[: 2 * MIB] = bytes(2 * MIB)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        with open("/proc/self/smaps", encoding="ascii", errors="replace") as lines:
            told = smaps_of(lines, {start})[start]
        assert (told.page_size_bytes, told.hugetlb) == (os.sysconf("SC_PAGE_SIZE"), False)
        assert 2 * MIB <= told.held_bytes <= size
        assert 0 <= told.transparent_huge_bytes <= told.held_bytes


@given(st.lists(st.text(max_size=60) | st.sampled_from(SMAPS.splitlines()), max_size=12))
def test_junk_in_smaps_counts_nothing_negative(lines: list[str]) -> None:
    assert all(one.held_bytes >= 0 <= one.transparent_huge_bytes for one in smaps_of(lines, {0x7F0000000000}).values())


def test_a_process_that_is_gone_has_none() -> None:
    assert read_mappings(1 << 22, {GIB}) == ()


def test_what_may_not_be_read_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(path: str, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(mappings, "open", refuse, raising=False)
    with pytest.raises(KernelRefused, match="Permission denied") as caught:
        read_mappings(os.getpid(), {GIB})
    assert (caught.value.code, caught.value.errno) == ("host.pages-unreadable", 13)


@given(st.lists(st.text(max_size=80)), st.lists(st.text(max_size=80)))
def test_junk_lines_are_nobody(maps: list[str], numa_maps: list[str]) -> None:
    ranges = ranges_of(maps, {GIB})
    assert all(mapping.start in ranges for mapping in mappings_of(numa_maps, ranges))


@given(st.text(alphabet="0123456789,-", max_size=12), st.text(alphabet="N0123= \nkernelpagesize_kB", max_size=60))
def test_hostile_lines(nodes: str, tail: str) -> None:
    found = mappings_of([f"7f0000000000 bind:{nodes} {tail}"], {0x7F0000000000: GIB})
    assert all(count >= 0 for mapping in found for _, count in mapping.pages)
