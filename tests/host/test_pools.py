"""Growing and shrinking pools: on the real kernel, and where it gives too little."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qsup.bytesize import GIB, MIB
from qsup.errors import KernelRefused
from qsup.host import hugepages
from qsup.host.hugepages import ATTEMPTS, grow_pool, shrink_pool
from qsup.host.pages import pages_taken
from qsup.host.pools import read_pool

POOL = "sys/devices/system/node/node0/hugepages/hugepages-2048kB"
MAP_HUGETLB = 0x40000


@pytest.fixture
def root(host_root: Callable[[str], str]) -> str:
    """A recorded machine whose node 0 has 512 pages of 2 MiB, 128 of them free."""
    return host_root("offline-isolated")


def total_of(root: str) -> int:
    pool = read_pool(0, 2 * MIB, root)
    assert pool is not None
    return pool.total


def test_growing_adds_to_what_is_there(root: str) -> None:
    assert grow_pool(0, 2 * MIB, 10, root) == 10
    assert total_of(root) == 522


def test_shrinking_takes_no_page_in_use(root: str) -> None:
    assert shrink_pool(0, 2 * MIB, 28, root) == 28
    assert total_of(root) == 484
    Path(root, POOL, "free_hugepages").write_text("3\n")
    assert shrink_pool(0, 2 * MIB, 28, root) == 3
    Path(root, POOL, "free_hugepages").write_text("0\n")
    assert shrink_pool(0, 2 * MIB, 28, root) == 0


def test_two_that_grow_at_once_lose_nothing(root: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: grow_pool(0, 2 * MIB, 5, root), range(16))) == [5] * 16
    assert total_of(root) == 512 + 80


@pytest.mark.parametrize(("node", "size"), [(0, GIB), (7, 2 * MIB)])
def test_a_pool_that_does_not_exist(root: str, node: int, size: int) -> None:
    with pytest.raises(KernelRefused, match="has no hugepage pool") as caught:
        grow_pool(node, size, 1, root)
    assert caught.value.code == "host.pool-missing"


def test_too_few_pages_are_given_back_and_told(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has room for 5 pages more, whatever is asked, and counts the compactions."""
    written: list[tuple[str, str]] = []
    real_write = hugepages._write

    def write(path: str, text: str) -> None:
        written.append((os.path.basename(path), text))
        if path.endswith("nr_hugepages"):
            real_write(path, f"{min(int(text), 517)}\n".ljust(8))

    monkeypatch.setattr(hugepages, "_write", write)
    with pytest.raises(KernelRefused, match=r"gave 5 of 9 hugepages of 2MiB after 3 attempts") as caught:
        grow_pool(0, 2 * MIB, 9, root)
    assert caught.value.code == "host.pool-short"
    assert total_of(root) == 512
    assert [text for name, text in written if name == "nr_hugepages"] == ["521"] * ATTEMPTS + ["512"]
    assert [name for name, _ in written if name == "compact"] == ["compact"] * (ATTEMPTS - 1)


def test_a_pool_that_may_not_be_written(root: str) -> None:
    path = Path(root, POOL, "nr_hugepages")
    path.unlink()
    path.symlink_to("/proc/sys/kernel/ngroups_max")  # a number that not even root may write
    with pytest.raises(KernelRefused, match="the pool of 2MiB pages on host node 0 cannot be resized") as caught:
        grow_pool(0, 2 * MIB, 1, root)
    assert caught.value.code == "host.pool-refused"


@pytest.mark.root
def test_the_real_kernel_grows_counts_and_shrinks() -> None:
    if read_pool(0, 2 * MIB) is None:
        pytest.skip("no 2 MiB pool on node 0")
    assert grow_pool(0, 2 * MIB, 2) == 2
    try:
        before = pages_taken(os.getpid()).get((0, 2 * MIB), 0)
        with mmap.mmap(-1, 2 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB) as page:
            page[0] = 1
            assert pages_taken(os.getpid())[0, 2 * MIB] == before + 1
        assert pages_taken(os.getpid()).get((0, 2 * MIB), 0) == before
    finally:
        assert shrink_pool(0, 2 * MIB, 2) == 2
