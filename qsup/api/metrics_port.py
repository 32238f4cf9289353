"""`/metrics` over TCP, for a collector that cannot reach the Unix socket. Nothing else can be asked there.

TCP vouches for nobody: who reaches the address may read. Every limit of the API holds here as well.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from qsup.api.connection import HttpConnection, Request
from qsup.api.limits import Limits
from qsup.api.metrics_text import CONTENT_TYPE, text_of
from qsup.api.registry import Registry
from qsup.api.wire import error_json, to_bytes
from qsup.errors import BadRequest, KernelRefused

_log = logging.getLogger(__name__)
_BACKLOG = 16
PATH = "/metrics"


@asynccontextmanager
async def open_metrics_socket(address: str) -> AsyncIterator[trio.SocketListener]:
    """Listen on "127.0.0.1:9101" or "[::1]:9101".

    Raises:
        KernelRefused: api.cannot-listen-tcp.
    """
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    sock = socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bare, int(port)))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise KernelRefused(
            "api.cannot-listen-tcp",
            address,
            error.errno or errno.EIO,
            f"cannot listen on {address}: {error.strerror}",
            "choose another [daemon] metrics_address, or none",
        ) from error
    async with trio.SocketListener(trio.socket.from_stdlib_socket(sock)) as listener:
        yield listener


async def serve_metrics(
    registry: Registry,
    listener: trio.SocketListener,
    *,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve scrapes until cancelled; the listener is closed at the end."""
    port = _Port(registry, limits or Limits())
    await trio.serve_listeners(port.welcome, [listener], task_status=task_status)


class _Port:
    def __init__(self, registry: Registry, limits: Limits) -> None:
        self._registry = registry
        self._limits = limits
        self._open_count = 0

    async def welcome(self, stream: trio.SocketStream) -> None:
        """One connection from accept to close."""
        self._open_count += 1
        try:
            async with stream:
                if self._open_count <= self._limits.connections:
                    await self._talk(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except Exception:  # noqa: BLE001 (a scraper's fault, or one in the metrics, must not end the daemon)
            _log.exception("a scrape failed")
        finally:
            self._open_count -= 1

    async def _talk(self, stream: trio.SocketStream) -> None:
        http = HttpConnection(stream, self._limits)
        try:
            while (request := await http.read_request()) is not None:
                await self._answer(http, request)
                if not http.next_cycle():
                    return
        except BadRequest as error:
            if http.can_reply():
                await _refuse(http, error)

    async def _answer(self, http: HttpConnection, request: Request) -> None:
        path = request.target.partition("?")[0]
        if path != PATH:
            raise BadRequest("api.no-such-path", f"there is nothing at {path!r} on this port", f"ask for {PATH}")
        if request.method not in ("GET", "HEAD"):
            raise BadRequest("api.wrong-method", f"{PATH} does not take {request.method}", "use GET")
        await http.send_body(200, text_of(self._registry.metrics()), CONTENT_TYPE)


async def _refuse(http: HttpConnection, error: BadRequest) -> None:
    status, body = error_json(error)
    await http.send_json(status, to_bytes({"error": body}), close=True)
