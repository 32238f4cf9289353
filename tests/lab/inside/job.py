"""One command in the lab: its process, its pipes or terminal, and the frames between them and the port."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import suppress
from dataclasses import dataclass, field

from .frames import CHUNK_BYTES, Frames, Kind, pack, unpack_size

DRAIN_S = 0.5
"""How long output is still collected after the command's end: a daemon it started may hold the pipe for ever."""
STDIN_LIMIT_BYTES = 1 << 20
ENVIRONMENT = {
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PATH": "/opt/qsup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


class ClientGone(Exception):
    """The test process closed its end of the port."""


class NewRequest(Exception):
    """A client that connected meanwhile has begun another request."""


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    nonce: str
    argv: list[str]
    now_s: float
    cwd: str = "/root"
    env: dict[str, str] = field(default_factory=dict)
    terminal: bool = False

    @classmethod
    def parse(cls, text: bytes) -> Request:
        """Read a request from its JSON line."""
        return cls(**json.loads(text))


class Job:
    """Runs one request to its end."""

    def __init__(self, port: int, frames: Frames, request: Request) -> None:
        self.port = port
        self.frames = frames
        self.request = request
        self.stdin: int | None = None
        self.stdin_pending = bytearray()
        self.stdin_ended = False
        self.outputs: dict[int, Kind] = {}
        self.status: int | None = None
        self.drain_until_s = 0.0

    def run(self) -> None:
        """Run the command, shuttle its bytes, send its status.

        Raises: ClientGone, NewRequest; the command's process group is killed then.
        """
        try:
            process = self._spawn()
        except OSError as problem:
            self._send(Kind.STDERR, f"lab agent: {problem}\n".encode())
            self._send_status(127)
            return
        try:
            status = self._shuttle(process)
        finally:
            if self.status is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for descriptor in (*self.outputs, *([] if self.stdin is None else [self.stdin])):
                os.close(descriptor)
        self._send_status(status if status >= 0 else 128 - status)

    def _spawn(self) -> subprocess.Popen[bytes]:
        return self._spawn_on_terminal() if self.request.terminal else self._spawn_on_pipes()

    def _spawn_on_pipes(self) -> subprocess.Popen[bytes]:
        ours: list[int] = []
        theirs: list[int] = []
        for end in (1, 0, 0):
            pair = os.pipe()
            ours.append(pair[end])
            theirs.append(pair[1 - end])
        try:
            process = self._popen(theirs, None)
        except OSError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.stdin = ours[0]
        os.set_blocking(self.stdin, False)
        self.outputs = {ours[1]: Kind.STDOUT, ours[2]: Kind.STDERR}
        return process

    def _spawn_on_terminal(self) -> subprocess.Popen[bytes]:
        master, slave = pty.openpty()
        try:
            process = self._popen([slave] * 3, slave)
        except OSError:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.stdin = os.dup(master)
        self.outputs = {master: Kind.STDOUT}
        return process

    def _popen(self, stdio: list[int], terminal: int | None) -> subprocess.Popen[bytes]:
        def take_terminal() -> None:
            if terminal is not None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        return subprocess.Popen(
            self.request.argv,
            cwd=self.request.cwd,
            env=ENVIRONMENT | self.request.env,
            stdin=stdio[0],
            stdout=stdio[1],
            stderr=stdio[2],
            start_new_session=True,
            preexec_fn=take_terminal,
        )

    def _shuttle(self, process: subprocess.Popen[bytes]) -> int:
        """Move bytes both ways until the command has ended; return its status as waitpid gives it."""
        pidfd = os.pidfd_open(process.pid)
        try:
            self._take_frames(process)
            while self.status is None or (self.outputs and time.monotonic() < self.drain_until_s):
                for descriptor, event in self._poll(pidfd):
                    self._serve(descriptor, event, pidfd, process)
            return self.status
        finally:
            os.close(pidfd)

    def _poll(self, pidfd: int) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self.port, select.POLLIN if len(self.stdin_pending) < STDIN_LIMIT_BYTES else 0)
        for descriptor in self.outputs:
            poll.register(descriptor, select.POLLIN)
        if self.stdin is not None and self.stdin_pending:
            poll.register(self.stdin, select.POLLOUT)
        if self.status is None:
            poll.register(pidfd, select.POLLIN)
            return poll.poll()
        return poll.poll(max(1.0, (self.drain_until_s - time.monotonic()) * 1000))

    def _serve(self, descriptor: int, event: int, pidfd: int, process: subprocess.Popen[bytes]) -> None:
        if descriptor == self.port:
            self._read_port(event, process)
        elif descriptor in self.outputs:
            self._read_output(descriptor)
        elif descriptor == pidfd:
            self.status = process.wait()
            self.drain_until_s = time.monotonic() + DRAIN_S
        else:
            self._write_stdin()

    def _read_port(self, event: int, process: subprocess.Popen[bytes]) -> None:
        if event & (select.POLLHUP | select.POLLERR):
            raise ClientGone
        data = os.read(self.port, CHUNK_BYTES)
        if not data:
            raise ClientGone
        self.frames.feed(data)
        self._take_frames(process)

    def _take_frames(self, process: subprocess.Popen[bytes]) -> None:
        while not self.frames.at_request():
            frame = self.frames.next()
            if frame is None:
                return
            self._take(*frame, process)
        raise NewRequest

    def _take(self, kind: Kind, data: bytes, process: subprocess.Popen[bytes]) -> None:
        if kind is Kind.STDIN:
            self.stdin_pending += data
            self.stdin_ended = self.stdin_ended or not data
            self._close_ended_stdin()
        elif kind is Kind.SIGNAL:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, data[0])
        elif kind is Kind.RESIZE and self.request.terminal and self.stdin is not None:
            rows, columns = unpack_size(data)
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _write_stdin(self) -> None:
        if self.stdin is None:
            return
        try:
            written = os.write(self.stdin, self.stdin_pending[: select.PIPE_BUF])
            del self.stdin_pending[:written]
        except (BrokenPipeError, OSError):
            self.stdin_pending.clear()
            self.stdin_ended = True
        self._close_ended_stdin()

    def _close_ended_stdin(self) -> None:
        if self.stdin is None or self.stdin_pending or not self.stdin_ended:
            return
        if not self.request.terminal:
            os.close(self.stdin)
            self.stdin = None

    def _read_output(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except OSError:  # a terminal whose last process is gone says EIO
            data = b""
        if data:
            self._send(self.outputs[descriptor], data)
        else:
            del self.outputs[descriptor]
            os.close(descriptor)

    def _send_status(self, status: int) -> None:
        self._send(Kind.EXIT, json.dumps({"status": status}).encode())

    def _send(self, kind: Kind, data: bytes) -> None:
        frame = memoryview(pack(kind, data))
        while frame:
            frame = frame[os.write(self.port, frame) :]
