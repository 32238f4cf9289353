"""The client's side of the API, in the standard library only: small blocking HTTP/1.1 over the Unix socket.

Strategy: one connection per request, since a Unix connect costs less than keeping one. Replies stay the dicts that
`api/wire` made. The exceptions here are the client's own: `qsup.errors` needs attrs, which the client verbs must not load.
"""

from __future__ import annotations

import errno
import json
import socket
import struct

TYPE_CHECKING = False  # typing itself would cost each command 2 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

SOCKET_NAME = "api.sock"
_PATH_BYTES_MAX = 107
_CONNECT_S = 5
_READ_S = 30.0
_STREAM_SILENCE_S = 60.0
_HEAD_BYTES_MAX = 1 << 16
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Json = dict[str, "Any"]


class ClientError(Exception):
    """Something that ends a request; `hint` is the next step."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SocketPathTooLong(ClientError):
    """The run directory's path leaves no room for the socket's name."""


class DaemonAbsent(ClientError):
    """No daemon answers on this run directory, or it went away while it was only asked to tell something."""


class NotPermitted(ClientError):
    """The socket is there, but not for this user."""


class AnswerLost(ClientError):
    """The daemon went away after it had got an order: what came of it is not known."""


class Rejected(ClientError):
    """The daemon answered with an error: its HTTP status and the `error` object."""

    def __init__(self, status: int, error: Json) -> None:
        super().__init__(str(error.get("message")), error.get("hint"))
        self.status = status
        self.error = error


class ServerEvent:
    """One server-sent event: `type` is "message" unless the server says otherwise; `data` is its JSON."""

    def __init__(self, kind: str, data: Json) -> None:
        self.type = kind
        self.data = data


def quote(text: str) -> str:
    """Text as one segment of a path or a query."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def vm_path(name: str, tail: str = "") -> str:
    """The path of a VM: `/v1/vms/web1` and what follows."""
    return f"/v1/vms/{quote(name)}{tail}"


class Client:
    """Speaks to the daemon of one run directory."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._path = f"{run_dir.rstrip('/')}/{SOCKET_NAME}"

    def get(self, target: str) -> Json:
        """The JSON object at a path.

        Raises:
            ClientError: of any class.
        """
        return self.send("GET", target, timeout_s=_READ_S).read()

    def post(self, target: str, body: Mapping[str, object]) -> Json:
        """The answer to an order, however long it takes.

        Raises:
            ClientError: of any class.
        """
        return self.send("POST", target, body).read()

    def send(
        self, method: str, target: str, body: Mapping[str, object] | None = None, *, timeout_s: float | None = None
    ) -> PendingReply:
        """Send a request; its reply can be read later, so that several may be under way at once.

        Raises:
            SocketPathTooLong, DaemonAbsent, NotPermitted.
        """
        return self._send(method, target, [], body, timeout_s)

    def follow(self, target: str, silence_s: float = _STREAM_SILENCE_S) -> Iterator[ServerEvent]:
        """Server-sent events as they come; ends where the daemon ends the stream.

        Args:
            silence_s: how long nothing at all may come before the daemon is given up.

        Raises:
            ClientError: of any class; DaemonAbsent where the daemon dies.
        """
        with self._send("GET", target, ["Accept: text/event-stream"], None, silence_s) as reply:
            reply.read_head()
            yield from _events_of(reply.lines())

    def upgrade(self, target: str, protocol: str) -> tuple[socket.socket, bytes]:
        """A raw connection after an upgrade, with the bytes that came right behind the reply's head.

        Raises:
            ClientError: of any class.
        """
        reply = self._send("GET", target, ["Connection: Upgrade", f"Upgrade: {protocol}"], None, _READ_S)
        return reply.take_connection()

    def _send(
        self, method: str, target: str, extra: list[str], body: Mapping[str, object] | None, timeout_s: float | None
    ) -> PendingReply:
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: qsup", *extra, f"Content-Length: {len(payload)}", "", ""]
        connection = self._connect()
        connection.settimeout(timeout_s)
        try:
            connection.sendall("\r\n".join(lines).encode("ascii") + payload)
        except BrokenPipeError:
            pass  # the daemon refused before it read everything: its reply is there to be read
        except BaseException:
            connection.close()
            raise
        return PendingReply(connection, DaemonAbsent if method == "GET" else AnswerLost)

    def _connect(self) -> socket.socket:
        if len(self._path.encode("utf-8", "surrogateescape")) > _PATH_BYTES_MAX:
            message = f"the socket path {self._path} is longer than {_PATH_BYTES_MAX} bytes"
            raise SocketPathTooLong(message, "choose a shorter --run-dir")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # With a Python timeout, connect() to a full backlog fails at once; the kernel's own timeout waits.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_S, 0))
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise self._connect_error(error) from None
        return connection

    def _connect_error(self, error: OSError) -> ClientError:
        if error.errno in (errno.EACCES, errno.EPERM):
            message = f"you may not use the daemon at {self._path}"
            return NotPermitted(message, "be root or a member of the daemon's api_group")
        if error.errno == errno.EAGAIN:
            return DaemonAbsent(f"the daemon at {self._path} takes no connection", "see journalctl -u qsup")
        hint = "start it: systemctl start qsup, or qsup daemon; or give its --run-dir"
        return DaemonAbsent(f"no daemon answers at {self._path}: {error.strerror}", hint)


class PendingReply:
    """One connection whose request is sent and whose reply has not been read; `lost` is raised where none comes."""

    def __init__(self, connection: socket.socket, lost: type[ClientError]) -> None:
        self._connection = connection
        self._lost = lost
        self._buffer = bytearray()
        self._is_chunked = False
        self._length: int | None = None

    def __enter__(self) -> PendingReply:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def fileno(self) -> int:
        """For poll(): readable when the reply (or its head) has come."""
        return self._connection.fileno()

    def read(self) -> Json:
        """The whole reply, a JSON object; the connection is closed.

        Raises:
            Rejected, DaemonAbsent, AnswerLost.
        """
        with self:
            self.read_head()
            return self._json_object(b"".join(self._body_parts()))

    def read_head(self) -> int:
        """The status, 101 or 2xx; afterwards `lines` or `read` gives the body.

        Raises:
            Rejected, DaemonAbsent, AnswerLost.
        """
        status = 100
        while status == 100:
            status = self._read_one_head()
        if status == 101 or 200 <= status < 300:
            return status
        error = self._json_object(b"".join(self._body_parts())).get("error")
        raise Rejected(status, error if isinstance(error, dict) else {"message": f"HTTP status {status}"})

    def lines(self) -> Iterator[str]:
        """The body's lines as they come, without their ends."""
        rest = b""
        for part in self._body_parts():
            *whole, rest = (rest + part).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)

    def take_connection(self) -> tuple[socket.socket, bytes]:
        """The connection itself after status 101, and the bytes that came behind the head.

        Raises:
            Rejected, DaemonAbsent, AnswerLost.
        """
        try:
            status = self.read_head()
            if status != 101:
                raise self._lost(f"the daemon answered an upgrade with status {status}")
        except BaseException:
            self._connection.close()
            raise
        self._connection.settimeout(None)
        return self._connection, bytes(self._buffer)

    def _read_one_head(self) -> int:
        status_line = self._line()
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "")
        self._length = int(length) if length.isdigit() else None
        words = status_line.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise self._lost(f"what listens here does not speak HTTP: {status_line[:60]!r}")
        return int(words[1])

    def _body_parts(self) -> Iterator[bytes]:
        if not self._is_chunked:
            yield self._exactly(self._length or 0)
            return
        while size := self._chunk_size():
            yield self._exactly(size)
            self._line()
        self._line()

    def _chunk_size(self) -> int:
        line = self._line()
        try:
            return int(line.partition(";")[0], 16)
        except ValueError:
            raise self._lost(f"what listens here does not speak HTTP: {line[:60]!r}") from None

    def _json_object(self, raw: bytes) -> Json:
        try:
            value = json.loads(raw)
        except ValueError:
            raise self._lost(f"the daemon's answer is not JSON: {raw[:60]!r}") from None
        if not isinstance(value, dict):
            raise self._lost(f"the daemon's answer is not an object: {raw[:60]!r}")
        return value

    def _line(self) -> str:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _HEAD_BYTES_MAX:
                raise self._lost("what listens here does not speak HTTP: a line has no end")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.rstrip(b"\r").decode("latin-1")

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self) -> None:
        try:
            data = self._connection.recv(1 << 16)
        except TimeoutError:
            raise self._lost("the daemon does not answer", "see journalctl -u qsup") from None
        except ConnectionError:
            data = b""
        if not data:
            message = "the daemon went away before its answer was complete"
            raise self._lost(message, "ask again when it is back: qsup status")
        self._buffer += data


def _events_of(lines: Iterator[str]) -> Iterator[ServerEvent]:
    kind, data = "message", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data += value
        elif not line and data:
            yield ServerEvent(kind, json.loads(data))
            kind, data = "message", ""
