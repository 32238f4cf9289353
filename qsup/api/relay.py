"""A raw byte stream in both directions, after an upgrade."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from qsup.api.connection import HttpConnection

_READ_BYTES = 1 << 14


async def relay(http: HttpConnection, far: trio.abc.Stream, first: bytes) -> None:
    """Carry bytes until one side ends or breaks, or the client has not read for its time; then both are closed.

    A client that does not read must go: QEMU would hold the guest's serial port back for it.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_carry, http.stream, far.send_all, first, nursery.cancel_scope)
        nursery.start_soon(_carry, far, http.send_raw, b"", nursery.cancel_scope)


async def _carry(
    source: trio.abc.ReceiveStream,
    send: Callable[[bytes], Awaitable[None]],
    first: bytes,
    both: trio.CancelScope,
) -> None:
    try:
        if first:
            await send(first)
        while data := await source.receive_some(_READ_BYTES):
            await send(bytes(data))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    both.cancel()
