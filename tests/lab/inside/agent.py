"""The lab's agent: runs the commands that arrive over a virtio-serial port, one at a time.

A command whose client goes away is killed with its process group. The port is never closed: closing it would discard
what the next client has already queued.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress

from .frames import ACCEPTED, CHUNK_BYTES, REQUEST, Frames
from .job import ClientGone, Job, NewRequest, Request

CLOCK_TOLERANCE_S = 0.2


def read_request(port: int, frames: Frames) -> Request:
    """Wait for the next request line; anything else on the port is the rest of an earlier client's words."""
    while True:
        line = _read_line(port, frames)
        if not line.startswith(REQUEST.strip(b"\n")):
            continue
        with suppress(ValueError, KeyError, TypeError):
            return Request.parse(line[len(REQUEST) - 1 :])


def _read_line(port: int, frames: Frames) -> bytes:
    while b"\n" not in frames.pending:
        data = os.read(port, CHUNK_BYTES)
        if not data:
            raise ClientGone
        frames.feed(data)
    line, _, rest = bytes(frames.pending).partition(b"\n")
    frames.pending[:] = rest
    return line


def set_clock(now_s: float) -> None:
    """Bring the lab's clock to the host's: a clone wakes up with the time at which its template was saved."""
    if abs(time.time() - now_s) > CLOCK_TOLERANCE_S:
        time.clock_settime(time.CLOCK_REALTIME, now_s)


def serve(port: int) -> None:
    """Serve one request after the other until the client goes away."""
    frames = Frames()
    while True:
        request = read_request(port, frames)
        os.write(port, ACCEPTED + request.nonce.encode() + b"\n")
        set_clock(request.now_s)
        with suppress(NewRequest):
            Job(port, frames, request).run()


def open_port(path: str) -> int:
    """Open the port, waiting until udev has made it."""
    while True:
        with suppress(OSError):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        time.sleep(0.1)


def wait_for_client(port: int) -> None:
    """Return once a client is connected: until then the port reports a hang-up."""
    poll = select.poll()
    poll.register(port, select.POLLIN)
    while any(event & select.POLLHUP for _, event in poll.poll()):
        time.sleep(0.05)


def main() -> None:
    """Run for ever."""
    port = open_port(sys.argv[1])
    while True:
        wait_for_client(port)
        with suppress(ClientGone, OSError, ValueError):  # ValueError: the middle of an earlier client's frame
            serve(port)


if __name__ == "__main__":
    main()
