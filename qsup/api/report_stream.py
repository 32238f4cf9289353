"""What goes on each second, as server-sent events: `data:` is the JSON of the path without `/stream`."""

from __future__ import annotations

import trio

from qsup.api.calls import ReportsReply
from qsup.api.connection import HttpConnection
from qsup.api.registry import Registry


async def send_reports(http: HttpConnection, registry: Registry, reply: ReportsReply) -> None:
    """Send what each report on waiting gives, until the client is gone, or lags; one a second, so no comment fills a silence.

    Raises:
        trio.BrokenResourceError: the client is gone or does not read.
    """
    async with registry.follow_wait() as channel:
        await http.start_stream("text/event-stream; charset=utf-8")
        async for report in channel:
            await http.send_part(b"data: " + reply.line(report) + b"\n\n")
    with trio.move_on_after(1):
        await http.send_part(b"event: lagged\ndata: {}\n\n")
        await http.end_stream()
