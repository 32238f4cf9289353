"""Reports on waiting as server-sent events: `data:` is the JSON of `GET /v1/wait`, without its history."""

from __future__ import annotations

import trio

from qsup.api.calls import ReportsReply
from qsup.api.connection import HttpConnection
from qsup.api.registry import Registry
from qsup.api.wait_wire import wait_line


async def send_reports(http: HttpConnection, registry: Registry, reply: ReportsReply) -> None:
    """Send each report until the client is gone, or lags; there is one a second, so no comment fills a silence.

    Raises:
        trio.BrokenResourceError: the client is gone or does not read.
    """
    async with registry.follow_wait() as channel:
        await http.start_stream("text/event-stream; charset=utf-8")
        async for report in channel:
            await http.send_part(b"data: " + wait_line(report, reply.vm) + b"\n\n")
    with trio.move_on_after(1):
        await http.send_part(b"event: lagged\ndata: {}\n\n")
        await http.end_stream()
