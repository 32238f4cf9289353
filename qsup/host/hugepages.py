"""Grows a hugepage pool, gives back what was grown, and counts the pages that a process has taken.

Strategy: the pool's size is one number that everybody may write, so qsup adds to what it reads and later takes away what
it added; a pool that somebody else made is never resized to a figure of ours. An flock on the very file keeps two qsups
(and two threads of one) from losing each other's update. Source: Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from qsup.bytesize import format_byte_size
from qsup.errors import KernelRefused
from qsup.host.pools import pool_dir, read_pool
from qsup.host.sysfs import NODE_DIR, rooted
from qsup.plan.host_facts import PoolFacts

ATTEMPTS = 3


def grow_pool(host_node: int, page_size_bytes: int, count: int, root: str = "/") -> int:
    """Adds `count` pages to the pool of one node: all of them, or none.

    On shortage the node's memory is compacted and the kernel asked again, three times in all. May block for seconds:
    call it in a worker thread.

    Returns:
        the pages added, which is `count`: what `shrink_pool` gives back later.

    Raises:
        KernelRefused: host.pool-missing (no such node or page size), host.pool-refused (not writable),
            host.pool-short (too few pages came; the pool is as before).

    Touches:
        /sys/devices/system/node/nodeN/hugepages/hugepages-*kB/nr_hugepages, …/nodeN/compact, /proc/sys/vm/compact_memory.
    """
    with _resizing(host_node, page_size_bytes, root):
        before = _pool(host_node, page_size_bytes, root).total
        came = 0
        for attempt in range(ATTEMPTS):
            if attempt:
                _compact(host_node, root)
            came = _resize(host_node, page_size_bytes, before + count, root).total - before
            if came >= count:
                return count
        _give_back(host_node, page_size_bytes, max(came, 0), root)
    raise _short(host_node, page_size_bytes, count, max(came, 0))


def shrink_pool(host_node: int, page_size_bytes: int, count: int, root: str = "/") -> int:
    """Gives back up to `count` pages that qsup added, never more than are free.

    Returns:
        the pages given back, 0 to `count`.

    Raises:
        KernelRefused: host.pool-missing, host.pool-refused.

    Touches:
        /sys/devices/system/node/nodeN/hugepages/hugepages-*kB/nr_hugepages.
    """
    with _resizing(host_node, page_size_bytes, root):
        return _give_back(host_node, page_size_bytes, count, root)


@contextmanager
def _resizing(host_node: int, page_size_bytes: int, root: str) -> Iterator[None]:
    path = _pool_file(host_node, page_size_bytes, root)
    try:
        fd = os.open(rooted(root, path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise _missing(host_node, page_size_bytes, path) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _give_back(host_node: int, page_size_bytes: int, count: int, root: str) -> int:
    pool = _pool(host_node, page_size_bytes, root)
    # Pages in use would stay behind as surplus; what is written counts without surplus, what is read counts with it.
    less = min(count, pool.free)
    if less <= 0:
        return 0
    after = _resize(host_node, page_size_bytes, max(pool.total - pool.surplus - less, 0), root)
    return min(less, max(pool.total - after.total, 0))


def _pool_file(host_node: int, page_size_bytes: int, root: str) -> str:
    return f"{pool_dir(root, host_node, page_size_bytes)}/nr_hugepages"


def _pool(host_node: int, page_size_bytes: int, root: str) -> PoolFacts:
    pool = read_pool(host_node, page_size_bytes, root)
    if pool is None:
        raise _missing(host_node, page_size_bytes, _pool_file(host_node, page_size_bytes, root))
    return pool


def _missing(host_node: int, page_size_bytes: int, path: str) -> KernelRefused:
    message = f"host node {host_node} has no hugepage pool of {format_byte_size(page_size_bytes)} pages"
    return KernelRefused("host.pool-missing", path, errno.ENOENT, message, "choose a page size that `qsup topology` lists")


def _resize(host_node: int, page_size_bytes: int, total: int, root: str) -> PoolFacts:
    path = _pool_file(host_node, page_size_bytes, root)
    try:
        _write(rooted(root, path), str(total))
    except OSError as error:
        number = error.errno or errno.EIO
        size = format_byte_size(page_size_bytes)
        message = f"the pool of {size} pages on host node {host_node} cannot be resized: {error.strerror}"
        hint = "run the daemon as root, or reserve the pages at boot and set [place] grow_hugepages = false"
        raise KernelRefused("host.pool-refused", path, number, message, hint) from None
    return _pool(host_node, page_size_bytes, root)


def _compact(host_node: int, root: str) -> None:
    """Asks for compaction of the node, else of all memory; a kernel that cannot is no error."""
    for path in (f"{NODE_DIR}/node{host_node}/compact", "/proc/sys/vm/compact_memory"):
        try:
            _write(rooted(root, path), "1")
        except OSError:
            continue
        return


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def _short(host_node: int, page_size_bytes: int, count: int, came: int) -> KernelRefused:
    size = format_byte_size(page_size_bytes)
    message = (
        f"host node {host_node} gave {came} of {count} hugepages of {size} after {ATTEMPTS} attempts with compaction; "
        "the pool is as it was"
    )
    hint = "free memory on this node, or reserve the pages at boot, before memory fragments"
    return KernelRefused("host.pool-short", f"node{host_node}/hugepages", errno.ENOMEM, message, hint)
