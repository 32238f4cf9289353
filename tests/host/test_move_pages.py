"""move_pages(2) on this process' own memory."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

import pytest

from qsup.errors import KernelRefused
from qsup.host.move_pages import move_pages, page_nodes

PAGE = mmap.PAGESIZE
GONE = 1 << 22


class Touched:
    """Four pages, of which the first two are there."""

    def __enter__(self) -> list[int]:
        self.memory = mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory[: 2 * PAGE] = b"x" * 2 * PAGE
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        return [start + index * PAGE for index in range(4)]

    def __exit__(self, *_: object) -> None:
        self.memory.close()


def numa() -> bool:
    return os.path.isdir("/sys/devices/system/node/node0")


pytestmark = pytest.mark.skipif(not numa(), reason="the kernel has no NUMA")


def test_where_each_page_is() -> None:
    with Touched() as addresses:
        nodes = page_nodes(os.getpid(), addresses)
    assert all(node >= 0 for node in nodes[:2])
    assert nodes[2:] == (-errno.ENOENT, -errno.ENOENT)
    assert page_nodes(os.getpid(), []) == ()


def test_pages_that_are_where_they_should_be_stay() -> None:
    with Touched() as addresses:
        before = page_nodes(os.getpid(), addresses[:2])
        assert move_pages(os.getpid(), addresses[:2], before) == before
        status = move_pages(os.getpid(), addresses[:3], [*before, before[0]])
    assert status == (*before, -errno.ENOENT)


def test_memory_that_is_not_mapped() -> None:
    assert page_nodes(os.getpid(), [PAGE])[0] in (-errno.EFAULT, -errno.ENOENT)


@pytest.mark.parametrize("node", [1023, -1])
def test_a_node_that_does_not_exist(node: int) -> None:
    with Touched() as addresses, pytest.raises(KernelRefused) as caught:
        move_pages(os.getpid(), addresses[:1], [node])
    assert (caught.value.code, caught.value.errno) == ("host.pages-refused", errno.ENODEV)
    assert caught.value.hint is not None


def test_a_process_that_is_gone() -> None:
    with pytest.raises(KernelRefused) as caught:
        page_nodes(GONE, [PAGE])
    assert caught.value.errno == errno.ESRCH
