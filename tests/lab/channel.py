"""Running commands in the lab: the client of the agent.

One connection serves one command after the other. Closing it in the middle of a command kills that command: that is
how a timeout is enforced.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen

from .inside.frames import ACCEPTED, CHUNK_BYTES, REQUEST, Frames, Kind, pack

RETRY_S = 0.05
ACCEPT_S = 5.0
Sink = Callable[[bytes], object]


class NoAnswer(Exception):
    """The agent does not answer, or the lab is gone."""


@frozen
class Command:
    """A command for the lab."""

    argv: Sequence[str]
    cwd: str = "/root"
    env: Mapping[str, str] = field(factory=dict)
    terminal: bool = False

    def request(self, nonce: str) -> bytes:
        """Return the line that asks the agent to run it; it carries the time, so that the agent sets the lab's clock."""
        words = {"nonce": nonce, "argv": list(self.argv), "now_s": time.time(), "cwd": self.cwd, "env": dict(self.env)}
        return REQUEST + json.dumps(words | {"terminal": self.terminal}).encode() + b"\n"


@define
class Streams:
    """Where a command's bytes come from and go to."""

    stdout: Sink
    stderr: Sink
    stdin: bytes | int = b""
    """The input itself, or a descriptor to read it from."""
    outbox: bytearray = field(factory=bytearray)
    """Frames still to be sent; others may add to it (signals, sizes)."""

    def begin_input(self) -> int | None:
        """Queue an input that is given as bytes; return the descriptor of one that is to be read."""
        if isinstance(self.stdin, int):
            return self.stdin
        for start in range(0, len(self.stdin), CHUNK_BYTES):
            self.add_input(self.stdin[start : start + CHUNK_BYTES])
        self.add_input(b"")
        return None

    def add_input(self, data: bytes) -> bool:
        """Queue some input; no bytes are its end. Tell whether there may be more."""
        self.outbox += pack(Kind.STDIN, data)
        return bool(data)


class Channel:
    """The agent's port, as the test process sees it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Disconnect; a command that is running is killed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def run(self, command: Command, streams: Streams, *, timeout_s: float, answer_s: float) -> int:
        """Run a command to its end and return its exit status (128 + signal for a killed one).

        Args:
            timeout_s: the command's own limit.
            answer_s: how long the agent may take to answer at all.

        Raises:
            NoAnswer: no agent, or the lab went away in the middle.
            TimeoutError: the command took too long; it was killed.
        """
        connection, begun = self._begin(command, time.monotonic() + answer_s)
        try:
            return _shuttle(connection, Frames(begun), streams, time.monotonic() + timeout_s)
        except OSError as problem:
            self.close()
            if isinstance(problem, TimeoutError):
                raise TimeoutError(f"{list(command.argv)} took longer than {timeout_s} s and was killed") from None
            raise NoAnswer(f"the lab went away while it ran {list(command.argv)}: {problem}") from problem
        except BaseException:
            self.close()
            raise

    def _begin(self, command: Command, deadline_s: float) -> tuple[socket.socket, bytes]:
        """Send the request until it is accepted.

        Returns: the connection, and what came after the acceptance.
        """
        while True:
            with suppress(OSError):
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.connect(str(self._path))
                nonce = uuid.uuid4().hex
                self._socket.settimeout(ACCEPT_S)
                self._socket.sendall(command.request(nonce))
                return self._socket, _after_acceptance(self._socket, nonce)
            self.close()
            if time.monotonic() > deadline_s:
                raise NoAnswer(f"the lab's agent does not answer on {self._path}")
            time.sleep(RETRY_S)


def _after_acceptance(connection: socket.socket, nonce: str) -> bytes:
    mark = ACCEPTED + nonce.encode() + b"\n"
    seen = b""
    while mark not in seen:
        data = connection.recv(CHUNK_BYTES)
        if not data:
            raise ConnectionError("closed")
        seen += data
    return seen.partition(mark)[2]


def _shuttle(connection: socket.socket, frames: Frames, streams: Streams, deadline_s: float) -> int:
    """Move bytes both ways until the status has come."""
    connection.setblocking(False)
    source = streams.begin_input()
    while (status := _deliver(frames, streams)) is None:
        readable, writable = _wait(connection, source, streams, deadline_s)
        if writable:
            del streams.outbox[: connection.send(streams.outbox)]
        if source is not None and source in readable:
            source = source if streams.add_input(os.read(source, CHUNK_BYTES)) else None
        if connection.fileno() in readable:
            data = connection.recv(CHUNK_BYTES)
            if not data:
                raise ConnectionError("its QEMU closed the port")
            frames.feed(data)
    return status


def _wait(connection: socket.socket, source: int | None, streams: Streams, deadline_s: float) -> tuple[frozenset[int], bool]:
    """Wait until something can be moved, or for a second (others may have filled the outbox).

    Returns: the readable descriptors, and whether the connection takes bytes.
    Raises: TimeoutError: the deadline has passed.
    """
    with selectors.PollSelector() as selector:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if streams.outbox else 0)
        selector.register(connection, events)
        if source is not None and len(streams.outbox) < CHUNK_BYTES:
            selector.register(source, selectors.EVENT_READ)
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        ready = selector.select(min(left_s, 1.0))
    readable = frozenset(key.fd for key, mask in ready if mask & selectors.EVENT_READ)
    return readable, any(mask & selectors.EVENT_WRITE for _, mask in ready)


def _deliver(frames: Frames, streams: Streams) -> int | None:
    """Hand whole frames to their sinks; return the status once it has come."""
    while frame := frames.next():
        kind, data = frame
        if kind is Kind.STDOUT:
            streams.stdout(data)
        elif kind is Kind.STDERR:
            streams.stderr(data)
        elif kind is Kind.EXIT:
            status: int = json.loads(data)["status"]
            return status
    return None
