"""Server-sent events: `id:` is the event's seq, `data:` its JSON. A comment is sent into silence; a last event of the type
`lagged` says that the client was too slow and lost events.

Source: WHATWG HTML, section "Server-sent events".
"""

from __future__ import annotations

import trio

from qsup.api.calls import EventsReply
from qsup.api.connection import HttpConnection
from qsup.api.registry import Registry
from qsup.api.wire import event_json, to_bytes
from qsup.supervisor.view import EventView

_KEEP_ALIVE = b": keep-alive\n\n"
_BATCH = 64


async def send_events(http: HttpConnection, registry: Registry, reply: EventsReply, keep_alive_s: float) -> None:
    """Send events until the client is gone, or lags.

    Raises:
        trio.BrokenResourceError: the client is gone or does not read.
    """
    last_seq = reply.after_seq or 0
    async with registry.follow(reply.after_seq) as channel:
        await http.start_stream("text/event-stream; charset=utf-8")
        while True:
            try:
                events = await _next_batch(channel, keep_alive_s)
            except trio.EndOfChannel:
                break
            last_seq = events[-1].seq if events else last_seq
            data = b"".join(_bytes_of(event) for event in events if reply.vm in (None, event.vm))
            if data or not events:
                await http.send_part(data or _KEEP_ALIVE)
    await http.send_part(b"event: lagged\ndata: " + to_bytes({"last_seq": last_seq}) + b"\n\n")
    await http.end_stream()


async def _next_batch(channel: trio.MemoryReceiveChannel[EventView], keep_alive_s: float) -> list[EventView]:
    """What has happened, at least one event; empty after `keep_alive_s` of silence."""
    events: list[EventView] = []
    with trio.move_on_after(keep_alive_s):
        events.append(await channel.receive())
    try:
        while events and len(events) < _BATCH:
            events.append(channel.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass
    return events


def _bytes_of(event: EventView) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (event.seq, to_bytes(event_json(event)))
