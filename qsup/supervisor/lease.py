"""Lease: something is done only as long as somebody wants it, and a while longer."""

from __future__ import annotations

import trio


class Lease:
    """Renewed by `want`; moments are of trio's clock."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._until_s = 0.0
        self._wanted = trio.Event()

    def want(self) -> None:
        """Somebody wants it, for the next span."""
        self._until_s = trio.current_time() + self._span_s
        self._wanted.set()

    async def wait_wanted(self) -> None:
        """Return while somebody wants it."""
        if trio.current_time() > self._until_s:
            self._wanted = trio.Event()
        await self._wanted.wait()
