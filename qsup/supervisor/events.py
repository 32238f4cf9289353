"""The event log: a bounded history and its followers. Publishing never waits for anyone."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import trio

from qsup.supervisor.view import EventView

HISTORY_LENGTH = 2000
FOLLOWER_BACKLOG = 500

Sink = Callable[[EventView], None]


def print_event(event: EventView) -> None:
    """The plain sink: one line on stderr."""
    subject = f"{event.vm}: " if event.vm else ""
    sys.stderr.write(f"{subject}{event.message} [{event.code}]\n")


class EventLog:
    """What happened, newest last. The channel of a follower that lags is closed."""

    def __init__(self, sinks: tuple[Sink, ...] = (print_event,)) -> None:
        self._history: deque[EventView] = deque(maxlen=HISTORY_LENGTH)
        self._followers: set[_Follower] = set()
        self._sinks = sinks
        self._seq = 0
        self.followers_cut = 0

    def add_sink(self, sink: Sink) -> None:
        """Hand every event from now on to one more sink."""
        self._sinks = (*self._sinks, sink)

    def publish(self, code: str, message: str, vm: str | None = None, fields: Mapping[str, str] | None = None) -> EventView:
        """Record an event, hand it to the sinks and to every follower."""
        self._seq += 1
        event = EventView(self._seq, time.time(), vm, code, message, dict(fields or {}))
        self._history.append(event)
        for sink in self._sinks:
            sink(event)
        for follower in list(self._followers):
            self.followers_cut += not follower.offer(event)
        return event

    def history(self, after_seq: int | None = None) -> tuple[EventView, ...]:
        """The kept events, oldest first; only those after `after_seq` where it is given."""
        return tuple(event for event in self._history if after_seq is None or event.seq > after_seq)

    @asynccontextmanager
    async def follow(self, after_seq: int | None = None) -> AsyncIterator[trio.MemoryReceiveChannel[EventView]]:
        """Events as they happen, after the kept ones since `after_seq` (None: only new ones)."""
        send, receive = trio.open_memory_channel[EventView](FOLLOWER_BACKLOG + HISTORY_LENGTH)
        follower = _Follower(send)
        for event in self.history(after_seq) if after_seq is not None else ():
            follower.offer(event)
        self._followers.add(follower)
        try:
            async with receive:
                yield receive
        finally:
            self._followers.discard(follower)
            send.close()


class _Follower:
    def __init__(self, channel: trio.MemorySendChannel[EventView]) -> None:
        self._channel = channel
        self._dropped = False

    def offer(self, event: EventView) -> bool:
        """False where this event made it lag: it is cut off, once."""
        if self._dropped:
            return True
        try:
            self._channel.send_nowait(event)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._dropped = True
            self._channel.close()
        return not self._dropped
