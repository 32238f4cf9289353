"""A terminal in the lab on the caller's own terminal; plain pipes where there is none."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from .channel import Command, Sink, Streams
from .inside.frames import pack_size
from .lab import Lab

SESSION_S = 24 * 3600.0


def run_on_terminal(lab: Lab, argv: list[str]) -> int:
    """Run a command on a terminal in the lab that is shown on the caller's, and return its status."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return run_on_pipes(lab, argv)
    streams = Streams(_write_to(1), _write_to(2), sys.stdin.fileno())
    command = Command(argv, env={"TERM": os.environ.get("TERM", "linux")}, terminal=True)
    with _raw_terminal(), _size_followed(streams):
        return lab.stream(command, streams, timeout_s=SESSION_S)


def run_on_pipes(lab: Lab, argv: list[str]) -> int:
    """Run a command with the caller's standard streams (but for a terminal as input) and return its status."""
    stdin = b"" if sys.stdin.isatty() else sys.stdin.fileno()
    return lab.stream(Command(argv), Streams(_write_to(1), _write_to(2), stdin), timeout_s=SESSION_S)


def _write_to(descriptor: int) -> Sink:
    def write(data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    return write


@contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _size_followed(streams: Streams) -> Iterator[None]:
    """Tell the lab the terminal's size now and whenever it changes."""

    def tell(*_: object) -> None:
        size = shutil.get_terminal_size()
        streams.outbox += pack_size(size.lines, size.columns)

    before = signal.signal(signal.SIGWINCH, tell)
    tell()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
