"""What is asked for again and again, as server-sent events: the whole answer, whenever it is another one than before.

Nothing is looked at ahead of a client that does not read: it gets the newest answer when it reads on, and none is missing.
"""

from __future__ import annotations

import trio

from qsup.api.calls import RefreshReply
from qsup.api.connection import HttpConnection
from qsup.api.wire import error_json, to_bytes
from qsup.errors import QsupError

_KEEP_ALIVE = b": keep-alive\n\n"


async def send_refreshed(http: HttpConnection, reply: RefreshReply, keep_alive_s: float) -> None:
    """Send the first answer, and each that differs from the one before; an error ends it, as an event of the type `error`.

    Raises:
        trio.BrokenResourceError: the client is gone or does not read.
    """
    await http.start_stream("text/event-stream; charset=utf-8")
    last = to_bytes(reply.first)
    await http.send_part(_event(last))
    sent_s = trio.current_time()
    while True:
        await trio.sleep(reply.interval_s)
        try:
            data = to_bytes(await reply.ask())
        except QsupError as error:
            _, body = error_json(error)
            await http.send_part(b"event: error\n" + _event(to_bytes({"error": body})))
            break
        if data != last or trio.current_time() - sent_s >= keep_alive_s:
            await http.send_part(_event(data) if data != last else _KEEP_ALIVE)
            last, sent_s = data, trio.current_time()
    await http.end_stream()


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
