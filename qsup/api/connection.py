"""One HTTP/1.1 connection over h11, with limits in size and time.

Strategy: the machine is h11's; this file only moves bytes. Every read and every write has a deadline. A client that is
gone or does not read shows as trio.BrokenResourceError, whatever the cause; a request that breaks a rule shows as
BadRequest, after which only one reply can be sent. Nothing is shielded, so that cancelling ends everything at once.
"""

from __future__ import annotations

import h11
import trio
from attrs import frozen

from qsup import __version__
from qsup.api.limits import Limits
from qsup.errors import BadRequest

_READ_BYTES = 1 << 16
_SERVER_HEADERS = [("Server", f"qsup/{__version__}"), ("Cache-Control", "no-store")]


@frozen
class Request:
    """A whole request; header names in lower case, the last of equal names counts."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class HttpConnection:
    """The server's side of one connection."""

    def __init__(self, stream: trio.abc.Stream, limits: Limits) -> None:
        self.stream = stream
        self._limits = limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self._is_head = False

    async def read_request(self) -> Request | None:
        """The next request; None where the client left or kept silent too long.

        Raises:
            BadRequest: api.slow-request, api.bad-http, api.headers-too-large, api.body-too-large; answer it and close.
        """
        self._is_head = False
        if not self._h11.trailing_data[0] and not await self._wait_first_bytes():
            return None
        with trio.move_on_after(self._limits.request_s) as deadline:
            return await self._read_whole()
        assert deadline.cancelled_caught
        message = f"the request was not complete after {self._limits.request_s:g} s"
        raise BadRequest("api.slow-request", message, "send the whole request at once")

    async def _wait_first_bytes(self) -> bool:
        with trio.move_on_after(self._limits.idle_s):
            data = await self._receive()
            self._h11.receive_data(data)
            return bool(data)
        return False

    async def _read_whole(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        self._is_head = head.method == b"HEAD"
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > self._limits.body_bytes:
                message = f"the body is larger than {self._limits.body_bytes} bytes"
                raise BadRequest("api.body-too-large", message, "send less")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        return Request(head.method.decode("latin-1"), head.target.decode("latin-1"), headers, bytes(body))

    async def _next_event(self) -> object:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                code = "api.headers-too-large" if error.error_status_hint == 431 else "api.bad-http"
                raise BadRequest(code, f"this is not an HTTP/1.1 request: {error}", "see docs/api.md") from None
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(await self._receive())

    async def _receive(self) -> bytes:
        return bytes(await self.stream.receive_some(_READ_BYTES))

    async def wait_gone(self) -> None:
        """Wait until the client closes its side; bytes of a next request are kept for later, up to a limit."""
        kept_bytes = 0
        while kept_bytes <= self._limits.body_bytes:
            try:
                data = await self._receive()
            except trio.BrokenResourceError:
                return
            self._h11.receive_data(data)
            kept_bytes += len(data)
            if not data:
                return
        await trio.sleep_forever()

    async def send_json(self, status: int, body: bytes, *, close: bool = False) -> None:
        """A whole reply in JSON."""
        await self.send_body(status, body, "application/json", close=close)

    async def send_body(self, status: int, body: bytes, content_type: str, *, close: bool = False) -> None:
        """A whole reply. With `close` the client is told that the connection ends."""
        headers = [*_SERVER_HEADERS, ("Content-Type", content_type), ("Content-Length", str(len(body)))]
        if close:
            headers.append(("Connection", "close"))
        response = h11.Response(status_code=status, headers=headers)
        data = [] if self._is_head else [h11.Data(data=body)]
        await self._send(response, *data, h11.EndOfMessage())

    async def start_stream(self, content_type: str) -> None:
        """The head of a reply whose length is not known."""
        await self._send(h11.Response(status_code=200, headers=[*_SERVER_HEADERS, ("Content-Type", content_type)]))

    async def send_part(self, data: bytes) -> None:
        """A part of a reply begun by `start_stream`."""
        await self._send(h11.Data(data=data))

    async def end_stream(self) -> None:
        """The end of a reply begun by `start_stream`."""
        await self._send(h11.EndOfMessage())

    async def switch_protocol(self, protocol: str) -> bytes:
        """Agree to an upgrade; returns the bytes that the client has already sent in the new protocol."""
        headers = [*_SERVER_HEADERS, ("Connection", "Upgrade"), ("Upgrade", protocol)]
        await self._send(h11.InformationalResponse(status_code=101, headers=headers))
        return self._h11.trailing_data[0]

    def can_reply(self) -> bool:
        """Whether a reply may still begin."""
        return self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    def next_cycle(self) -> bool:
        """Make ready for the next request; False where the connection must close."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._h11.send(event) or b"" for event in events)
        await self.send_raw(data)

    async def send_raw(self, data: bytes) -> None:
        """Bytes as they are.

        Raises:
            trio.BrokenResourceError: the client is gone, or has not read for `send_s`.
        """
        with trio.move_on_after(self._limits.send_s) as deadline:
            await self.stream.send_all(data)
        if deadline.cancelled_caught:
            raise trio.BrokenResourceError("the client does not read")
