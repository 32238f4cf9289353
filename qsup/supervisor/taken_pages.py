"""The pages that VMs' processes have taken, counted for placing others. No count may refuse or hold up somebody else.

Strategy: each process is counted in a worker thread with a deadline. One that cannot be counted (the kernel refuses it, or its
list is locked by a process that hangs in the kernel) keeps the last count: what it was promised beyond that stays promised. A
reader that hangs is left to itself, and its process is not read again before it is back; what it brings then counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import trio

from qsup.errors import KernelRefused
from qsup.host.pages import pages_taken

DEADLINE_S = 2.0
"""For one process: some 400 GiB of base pages, or any number of hugepages."""

Pages = Mapping[tuple[int, int], int]


class TakenPages:
    """The last count of each process. `uncounted`: those of whom the last question brought nothing."""

    def __init__(self) -> None:
        self.uncounted: frozenset[int] = frozenset()
        self._counts: dict[int, Pages] = {}
        self._being_read: set[int] = set()

    async def count(self, pids: Iterable[int]) -> Mapping[int, Pages]:
        """Count these processes, one after the other.

        Returns:
            the pages by process; one that was never counted is left out.

        Touches: /proc/PID/numa_maps.
        """
        wanted = tuple(pids)
        self._forget_all_but(wanted)
        failed = [pid for pid in wanted if not await self._is_counted(pid)]
        self.uncounted = frozenset(failed)
        return {pid: self._counts[pid] for pid in wanted if pid in self._counts}

    async def _is_counted(self, pid: int) -> bool:
        if pid in self._being_read:
            return False
        with trio.move_on_after(DEADLINE_S):
            # With a limiter of its own a reader that hangs takes no turn from others.
            return await trio.to_thread.run_sync(self._read, pid, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        return False

    def _read(self, pid: int) -> bool:
        self._being_read.add(pid)
        try:
            self._counts[pid] = pages_taken(pid)
        except KernelRefused:
            return False
        finally:
            self._being_read.discard(pid)
        return True

    def _forget_all_but(self, pids: Iterable[int]) -> None:
        for pid in self._counts.keys() - set(pids):
            self._counts.pop(pid, None)
