"""Reading a VM's process where the answer may never come: its list of mappings is locked while it hangs in the kernel.

Strategy: a worker thread reads, and whoever asked waits for it until a deadline. A reader that hangs is left to itself: the
others get their turns, and the daemon can end. Its process is not read again while it hangs, so that each process has no more
hanging readers than turns are given at once.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

import trio
from attrs import define

from qsup.errors import KernelRefused

T = TypeVar("T")


@define(eq=False)
class _Reading:
    """One read by a worker thread, which sets `ended` as the last thing that it does."""

    ended: bool = False

    def run(self, read: Callable[[], T]) -> T:
        try:
            return read()
        finally:
            self.ended = True


class ProcessReads:
    """Reads of processes, a few at once. Each kind of read has an object of its own."""

    def __init__(self, at_once: int) -> None:
        self._turns = trio.Semaphore(at_once)
        self._left: dict[int, _Reading] = {}

    async def read(self, pid: int, what: str, read: Callable[[], T], deadline_s: float) -> T:
        """What the read brings.

        Args:
            what: what is read, for the message.

        Raises:
            KernelRefused: supervisor.process-hangs, or what the read raises.

        Touches:
            what the read touches, in a worker thread.
        """
        async with self._turns:
            self._left = {other: reading for other, reading in self._left.items() if not reading.ended}
            if pid not in self._left:
                with trio.move_on_after(deadline_s):
                    await trio.lowlevel.checkpoint_if_cancelled()  # after this the thread begins, whatever happens
                    return await self._read(pid, _Reading(), read)
        raise _hangs(pid, what, deadline_s)

    async def _read(self, pid: int, reading: _Reading, read: Callable[[], T]) -> T:
        try:
            # With a limiter of its own a reader that hangs takes no thread from others.
            return await trio.to_thread.run_sync(reading.run, read, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        finally:
            if not reading.ended:
                self._left[pid] = reading


def _hangs(pid: int, what: str, deadline_s: float) -> KernelRefused:
    message = f"{what} of process {pid} cannot be read within {deadline_s:g} s: it hangs in the kernel, its mappings locked"
    hint = f"see where its threads wait: cat /proc/{pid}/task/*/stack"
    return KernelRefused("supervisor.process-hangs", f"/proc/{pid}", errno.ETIMEDOUT, message, hint)
