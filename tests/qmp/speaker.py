"""The other end of a QMP connection: a small QEMU that does exactly what a test tells it, also what no QEMU should do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio
import trio.testing

from qsup.qmp.session import QmpSession, open_session

GREETING: Mapping[str, object] = {
    "QMP": {
        "version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7+deb12u18+b3"},
        "capabilities": ["oob"],
    }
}


class Speaker:
    """Speaks QMP over `stream`; `hear` returns commands in the order of their arrival."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._unread = b""

    async def say(self, raw: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(raw)

    async def tell(self, message: object) -> None:
        """Send one message as QEMU does, CR LF at its end."""
        await self.say(json.dumps(message).encode() + b"\r\n")

    async def greet(self) -> None:
        """Send the greeting of a QEMU 7.2."""
        await self.tell(GREETING)

    async def negotiate(self) -> None:
        """Greet, and accept qmp_capabilities."""
        await self.greet()
        request = await self.hear()
        assert request["execute"] == "qmp_capabilities"
        await self.answer(request, {})

    async def hear_line(self) -> bytes | None:
        """The next line, None when the client has closed."""
        while b"\n" not in self._unread:
            try:
                chunk = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not chunk:
                return None
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    async def hear(self) -> dict[str, object]:
        """The next command."""
        line = await self.hear_line()
        assert line is not None, "the client closed the connection"
        request = json.loads(line)
        assert isinstance(request, dict)
        return request

    async def answer(self, request: Mapping[str, object], value: object) -> None:
        """Reply with a value."""
        await self.tell({"return": value, "id": request["id"]})

    async def refuse(self, request: Mapping[str, object], error_class: str, description: str) -> None:
        """Reply with an error."""
        await self.tell({"error": {"class": error_class, "desc": description}, "id": request["id"]})

    async def event(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Send an event with a timestamp."""
        timestamp = {"seconds": 1700000000, "microseconds": 250000}
        await self.tell({"event": name, "data": data or {}, "timestamp": timestamp})

    async def serve(self, answers: Mapping[str, object]) -> None:
        """Answer each command by its name until the client closes; others are refused as QEMU refuses them."""
        while (line := await self.hear_line()) is not None:
            request = json.loads(line)
            name = request["execute"]
            if name in answers:
                await self.answer(request, answers[name])
            else:
                await self.refuse(request, "CommandNotFound", f"The command {name} has not been found")

    async def close(self) -> None:
        """End the connection from QEMU's side."""
        await self.stream.aclose()


@asynccontextmanager
async def open_talk(
    streams: tuple[trio.abc.Stream, trio.abc.Stream] | None = None, *, line_limit_bytes: int = 2**20
) -> AsyncIterator[tuple[QmpSession, Speaker]]:
    """A negotiated session with its speaker, over memory or over the given pair (ours, theirs)."""
    ours, theirs = streams or trio.testing.memory_stream_pair()
    speaker = Speaker(theirs)
    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(speaker.negotiate)
        async with open_session(ours, greeting_timeout_s=5, line_limit_bytes=line_limit_bytes) as session:
            yield session, speaker


def socket_streams() -> tuple[trio.SocketStream, trio.SocketStream]:
    """A pair of connected Unix stream sockets."""
    ours, theirs = trio.socket.socketpair()
    return trio.SocketStream(ours), trio.SocketStream(theirs)
