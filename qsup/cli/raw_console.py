"""The terminal on the one side, a raw connection on the other.

A terminal is made raw, so that every key reaches the guest but the escape key; it is restored whatever happens, also at
SIGTERM and SIGHUP. With a pipe as input its end does not end the console: what the guest says is still printed until the
guest, a signal or the reader of the output ends it. Keys are read only when the last ones are gone, so that a guest
that does not read cannot keep its own output from being shown.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from qsup.cli import exit_codes

_READ_BYTES = 1 << 14


def carry_console(connection: socket.socket, first: bytes, escape: bytes, name: str) -> int:
    """Carry bytes until the escape key is hit or the console ends; stderr says which.

    Touches: the terminal's mode; stdin and stdout as raw bytes.
    """
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    if not os.isatty(keyboard):
        _Carrier(connection, keyboard, screen, b"").carry(first)
        return exit_codes.DONE
    leave = f"Ctrl-{chr(escape[0] + 64)} leaves it" if escape else "no key leaves it"
    print(f"qsup: the console of {name}; {leave}", file=sys.stderr)
    with _raw(keyboard):
        left = _Carrier(connection, keyboard, screen, escape).carry(first)
    print("\nqsup: left the console" if left else "\nqsup: the console ended", file=sys.stderr)
    return exit_codes.DONE


class _Carrier:
    def __init__(self, connection: socket.socket, keyboard: int, screen: int, escape: bytes) -> None:
        self._connection = connection
        self._keyboard = keyboard
        self._screen = screen
        self._escape = escape
        self._typed = b""
        self._left = False

    def carry(self, first: bytes) -> bool:
        """True where the escape key was hit, False where the far side ended."""
        self._connection.setblocking(False)
        _write_all(self._screen, first)
        keyboard_open = True
        while not (self._left and not self._typed):
            wants_keys = keyboard_open and not self._typed
            ready = self._wait(wants_keys)
            if self._keyboard in ready:
                keyboard_open = self._read_keys()
            if self._connection.fileno() in ready and not self._move():
                return False
        return True

    def _wait(self, wants_keys: bool) -> set[int]:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | (select.POLLOUT if self._typed else 0))
        if wants_keys:
            poll.register(self._keyboard, select.POLLIN)
        return {fd for fd, _ in poll.poll()}

    def _read_keys(self) -> bool:
        data = os.read(self._keyboard, _READ_BYTES)
        self._typed = data
        if self._escape and self._escape in data:
            self._typed, self._left = data.partition(self._escape)[0], True
        return bool(data)

    def _move(self) -> bool:
        """Send what was typed, print what came; False where the far side has ended."""
        try:
            if self._typed:
                self._typed = self._typed[self._connection.send(self._typed) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._typed = b""
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        _write_all(self._screen, data)
        return bool(data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    handlers = {number: signal.signal(number, _exit_at_signal) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _exit_at_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
