"""The server: how a connection lives, from its credentials to its end.

A fault in a handler becomes a reply with status 500 and a traceback in the log; a fault anywhere else ends that
connection only. Nothing here is shielded: cancelling `serve` closes every connection at once, also those of clients that do
not read.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from qsup.api.calls import Call, EventsReply, JsonReply, RefreshReply, Reply, ReportsReply, TextReply, UpgradeReply
from qsup.api.connection import HttpConnection, Request
from qsup.api.event_stream import send_events
from qsup.api.limits import Limits
from qsup.api.peers import Authorize, Peer, peer_of
from qsup.api.refresh_stream import send_refreshed
from qsup.api.registry import Registry
from qsup.api.relay import relay
from qsup.api.report_stream import send_reports
from qsup.api.routes import route_of
from qsup.api.wire import error_json, internal_error_json, to_bytes
from qsup.errors import BadRequest, QsupError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def serve(
    registry: Registry,
    listener: trio.SocketListener,
    *,
    authorize: Authorize,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the API on a listening Unix socket until cancelled; the listener is closed at the end.

    Args:
        authorize: whether a client may act; others get 403 for whatever they ask.
    """
    server = _Server(registry, authorize, limits or Limits())
    await trio.serve_listeners(server.welcome, [listener], task_status=task_status)


class _Server:
    def __init__(self, registry: Registry, authorize: Authorize, limits: Limits) -> None:
        self._registry = registry
        self._authorize = authorize
        self._limits = limits
        self._open_count = 0

    async def welcome(self, stream: trio.SocketStream) -> None:
        """One connection from accept to close."""
        self._open_count += 1
        try:
            async with stream:
                await _contain(lambda: self._talk(stream), "a connection failed")
        finally:
            self._open_count -= 1

    async def _talk(self, stream: trio.SocketStream) -> None:
        http = HttpConnection(stream, self._limits)
        try:
            peer = peer_of(stream.socket)
            refusal = self._refusal_of(peer)
            while (request := await self._next_request(http)) is not None:
                if refusal is not None:
                    await _send_error(http, refusal, close=True)
                    return
                if not await self._answer(http, peer, request):
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _refusal_of(self, peer: Peer) -> BadRequest | None:
        if self._open_count > self._limits.connections:
            message = f"{self._limits.connections} clients are connected already"
            return BadRequest("api.too-many-connections", message, "close some of them, then try again")
        if self._authorize(peer):
            return None
        _log.warning("refused uid %d (pid %d): not permitted", peer.uid, peer.pid)
        message = f"uid {peer.uid} may not use this daemon"
        return BadRequest("api.not-permitted", message, "be root or a member of the daemon's api_group")

    async def _next_request(self, http: HttpConnection) -> Request | None:
        try:
            return await http.read_request()
        except BadRequest as error:
            if http.can_reply():
                await _send_error(http, error, close=True)
            return None

    async def _answer(self, http: HttpConnection, peer: Peer, request: Request) -> bool:
        """Answer one request; False where the connection is over."""
        reply: Reply | None = None

        async def handle() -> None:
            nonlocal reply
            reply = await self._reply_to(peer, request)

        await _while_connected(http, handle)
        match reply:
            case JsonReply(value, status):
                await http.send_json(status, to_bytes(value))
                return http.next_cycle()
            case TextReply(text, content_type):
                await http.send_body(200, text, content_type)
                return http.next_cycle()
            case ReportsReply() | RefreshReply() | EventsReply() as stream:
                await _while_connected(http, lambda: self._stream(http, stream))
                return http.next_cycle()
            case UpgradeReply(protocol, far):
                async with far:
                    await relay(http, far, await http.switch_protocol(protocol))
        return False

    async def _stream(self, http: HttpConnection, reply: ReportsReply | RefreshReply | EventsReply) -> None:
        match reply:
            case ReportsReply():
                await send_reports(http, self._registry, reply)
            case RefreshReply():
                await send_refreshed(http, reply, self._limits.keep_alive_s)
            case EventsReply():
                await send_events(http, self._registry, reply, self._limits.keep_alive_s)

    async def _reply_to(self, peer: Peer, request: Request) -> Reply:
        reply = await _contain(lambda: self._handle(peer, request), f"{request.method} {request.target} failed")
        return reply or JsonReply({"error": internal_error_json()}, 500)

    async def _handle(self, peer: Peer, request: Request) -> Reply:
        try:
            match = route_of(request.method, request.target)
            if request.method != "GET":
                _log.info("uid %d (pid %d): %s %s", peer.uid, peer.pid, request.method, request.target)
            call = Call(self._registry, peer, match.name, match.query, request.headers, request.body)
            return await match.route.handler(call)
        except QsupError as error:
            status, body = error_json(error)
            return JsonReply({"error": body}, status)


async def _while_connected(http: HttpConnection, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, and give it up as soon as the client is gone."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await http.wait_gone()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            await work()
        except trio.BrokenResourceError:
            _log.debug("a client went away")
        nursery.cancel_scope.cancel()


async def _contain(work: Callable[[], Awaitable[_T]], what: str) -> _T | None:
    """Do the work; a fault of qsup itself is logged with its traceback and reaches nobody else."""
    try:
        return await work()
    except Exception:  # noqa: BLE001 (one client's fault must not end the daemon's API for all others)
        _log.exception("%s", what)
        return None


async def _send_error(http: HttpConnection, error: QsupError, *, close: bool) -> None:
    status, body = error_json(error)
    await http.send_json(status, to_bytes({"error": body}), close=close)
