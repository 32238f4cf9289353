"""Moves pages of a process between host nodes: move_pages(2), in batches.

Strategy: asking first (nodes = NULL) costs little and tells which pages of a batch are elsewhere; only those are moved. hugetlb
pages are named by their first address. Source: man 2 move_pages, mm/migrate.c.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence

from qsup.errors import KernelRefused

_MOVE_PAGES = {"x86_64": 279, "aarch64": 239, "riscv64": 239}
_MPOL_MF_MOVE = 1 << 1


def page_nodes(pid: int, addresses: Sequence[int]) -> tuple[int, ...]:
    """The host node of each page; negative: minus an errno (ENOENT: no page is there).

    Raises:
        KernelRefused: host.pages-refused.

    Touches:
        move_pages(2) with nodes = NULL, which moves nothing.
    """
    return _call(pid, addresses, None)


def move_pages(pid: int, addresses: Sequence[int], nodes: Sequence[int]) -> tuple[int, ...]:
    """Moves each page to its node.

    Returns:
        For each page the node where it is, or minus an errno. A page inside a transparent huge page that another address of the
        batch has moved may say EBUSY: ask again where it is.

    Raises:
        KernelRefused: host.pages-refused; the whole call was refused and nothing moved.

    Touches:
        move_pages(2) with MPOL_MF_MOVE: only pages that no other process maps.
    """
    return _call(pid, addresses, nodes)


def _call(pid: int, addresses: Sequence[int], nodes: Sequence[int] | None) -> tuple[int, ...]:
    number = _MOVE_PAGES.get(os.uname().machine)
    if number is None:
        raise _refused(pid, errno.ENOSYS)
    if not addresses:
        return ()
    count = len(addresses)
    pages = (ctypes.c_void_p * count)(*addresses)
    targets = None if nodes is None else (ctypes.c_int * count)(*nodes)
    # The kernel leaves the status of pages untouched where it gives up: what it does not write stays "busy".
    status = (ctypes.c_int * count)(*[-errno.EBUSY] * count)
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0 if nodes is None else _MPOL_MF_MOVE
    outcome = libc.syscall(
        ctypes.c_long(number), ctypes.c_int(pid), ctypes.c_ulong(count), pages, targets, status, ctypes.c_int(flags)
    )
    if outcome < 0:  # a positive outcome counts pages that were not moved: the status tells which
        raise _refused(pid, ctypes.get_errno() or errno.EIO)
    return tuple(status)


def _refused(pid: int, number: int) -> KernelRefused:
    hints = {
        errno.EPERM: "run the daemon as root, or with CAP_SYS_NICE and CAP_SYS_PTRACE",
        errno.ENODEV: "look with `qsup topology` which nodes are online and have memory",
        errno.ENOSYS: "the kernel must have CONFIG_NUMA and CONFIG_MIGRATION",
    }
    text = f"the kernel refused to move pages of process {pid}: {os.strerror(number)}"
    return KernelRefused("host.pages-refused", "move_pages", number, text, hints.get(number))
