"""A server on a socket of its own, and a client that sends bytes as they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define

from qsup.api.limits import Limits
from qsup.api.listen import open_api_socket
from qsup.api.peers import Authorize
from qsup.api.server import serve
from tests.api.memory_registry import MemoryRegistry


@define
class Served:
    """A running server."""

    registry: MemoryRegistry
    run_dir: Path
    scope: trio.CancelScope
    stopped: trio.Event

    @property
    def path(self) -> str:
        return str(self.run_dir / "api.sock")


@asynccontextmanager
async def serving(
    run_dir: Path,
    *,
    limits: Limits | None = None,
    authorize: Authorize = lambda peer: True,
    registry: MemoryRegistry | None = None,
) -> AsyncIterator[Served]:
    """Serve until the block ends; `scope.cancel()` ends it earlier."""
    served = Served(registry or MemoryRegistry(), run_dir, trio.CancelScope(), trio.Event())

    async def run(task_status: trio.TaskStatus[None]) -> None:
        async with open_api_socket(str(run_dir), None) as listener:
            with served.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: serve(served.registry, listener, authorize=authorize, limits=limits))
                    task_status.started()
            served.stopped.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield served
        served.scope.cancel()


class RawClient:
    """Bytes in, bytes out."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with the mark."""
        while mark not in self.buffer:
            data = await self.stream.receive_some(65536)
            assert data, f"the server closed; so far {self.buffer!r}"
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(mark)
        return head + mark

    async def to_end(self) -> bytes:
        """Everything until the server closes."""
        try:
            while data := await self.stream.receive_some(65536):
                self.buffer += data
        except trio.BrokenResourceError:
            pass
        return self.buffer

    async def reply(self) -> tuple[int, Any]:
        """One reply with a Content-Length: its status and its JSON."""
        head = (await self.until(b"\r\n\r\n")).decode()
        lengths = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length")]
        length = int(lengths[0])
        while len(self.buffer) < length:
            self.buffer += await self.stream.receive_some(65536)
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(head.split()[1]), json.loads(body)

    async def ask(self, method: str, target: str, body: object = None, headers: str = "") -> tuple[int, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(payload)}\r\n\r\n"
        await self.send(head.encode() + payload)
        return await self.reply()


@asynccontextmanager
async def raw_client(served: Served) -> AsyncIterator[RawClient]:
    """A connection of its own."""
    async with await trio.open_unix_socket(served.path) as stream:
        yield RawClient(stream)
