"""The pages that VMs' processes have taken, counted for placing others. No count may refuse or hold up somebody else.

Strategy: a worker thread counts processes for a short turn, which has a deadline, so that a hundred small ones cost one or two
turns. One that cannot be counted (the kernel refuses it, or its list is locked by a process that hangs in the kernel) keeps the
last count: what it was promised beyond that stays promised. A reader that hangs is left to itself, the others are read in the
next turn, and its process is not read again before it is back; what it brings then counts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping

import trio

from qsup.errors import KernelRefused
from qsup.host.pages import pages_taken

DEADLINE_S = 2.0
"""For one process: some 400 GiB of base pages, or any number of hugepages."""

TURN_S = 0.05
"""After so long a reader begins with no further process in its turn."""

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
        waiting = deque(pid for pid in wanted if pid not in self._being_read)
        told: set[int] = set()
        while waiting:
            with trio.move_on_after(DEADLINE_S):
                # With a limiter of its own a reader that hangs takes no turn from others.
                await trio.to_thread.run_sync(
                    self._read_some, waiting.popleft(), waiting, told, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
                )
        self.uncounted = frozenset(wanted) - told
        return {pid: self._counts[pid] for pid in wanted if pid in self._counts}

    def _read_some(self, first: int, waiting: deque[int], told: set[int]) -> None:
        """One turn: the first process in any case. One that hung has no time left for others."""
        until_s = time.monotonic() + TURN_S
        if self._read(first):
            told.add(first)
        while waiting and time.monotonic() < until_s:
            pid = waiting.popleft()
            if self._read(pid):
                told.add(pid)

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
