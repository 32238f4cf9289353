"""Events between the reader and a consumer that may lag."""

from __future__ import annotations

from collections import deque

import trio

from qsup.qmp.messages import QmpEvent


class EventStream:
    """An async iterator over events; holds a bounded number of them and drops the oldest beyond.

    It survives: a consumer that never comes, or comes late (`dropped` counts what it missed), and an event larger than
    all the room there is (dropped itself). It ends, by StopAsyncIteration or trio.EndOfChannel, after the connection has
    ended and what was waiting is consumed. Each event goes to one consumer.
    """

    def __init__(self, limit_events: int, limit_bytes: int) -> None:
        self._limit_events = limit_events
        self._limit_bytes = limit_bytes
        self._waiting: deque[tuple[QmpEvent, int]] = deque()
        self._waiting_bytes = 0
        self._consumers = trio.lowlevel.ParkingLot()
        self._ended = False
        self.dropped = 0

    def put(self, event: QmpEvent, size_bytes: int) -> None:
        """Add an event whose line took `size_bytes`; never blocks."""
        self._waiting.append((event, size_bytes))
        self._waiting_bytes += size_bytes
        while len(self._waiting) > self._limit_events or self._waiting_bytes > self._limit_bytes:
            self._take_oldest()
            self.dropped += 1
        self._consumers.unpark()

    def end(self) -> None:
        """No event follows; consumers still get what is waiting."""
        self._ended = True
        self._consumers.unpark_all()

    async def receive(self) -> QmpEvent:
        """The oldest event that waits; waits for one when there is none.

        Raises:
            trio.EndOfChannel: the connection has ended and nothing waits.
        """
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._ended:
                raise trio.EndOfChannel
            await self._consumers.park()
        return self._take_oldest()

    def _take_oldest(self) -> QmpEvent:
        event, size_bytes = self._waiting.popleft()
        self._waiting_bytes -= size_bytes
        return event

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> QmpEvent:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
