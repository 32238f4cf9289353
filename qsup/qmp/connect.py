"""Connecting to a monitor's Unix socket.

Strategy: on Linux a Unix `connect` never waits when the socket is non-blocking: it succeeds, fails, or says EAGAIN when
the listener's backlog is full. poll(2) has no event for "the backlog has room", and trio's own connect takes EAGAIN for a
connect in progress and then reports a socket that was never connected as connected (trio 0.35); so it is called here
directly and tried again until the deadline.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from qsup.errors import KernelRefused

# sun_path holds 108 bytes with its closing NUL: unix(7)
_PATH_LIMIT_BYTES = 107
_RETRY_S = 0.02

_CODES = {
    errno.ECONNREFUSED: ("qmp.connect-refused", "nothing listens on it", "Look whether this QEMU still runs."),
    errno.ENOENT: ("qmp.no-socket", "there is no such file", "Look whether this QEMU was ever started."),
    errno.EACCES: ("qmp.connect-denied", "permission denied", "Give the daemon write access to the socket."),
}


async def connect_unix(path: str, *, timeout_s: float) -> trio.SocketStream:
    """Connect to the Unix socket at `path`, of any length; the caller owns the stream.

    A monitor serves one client: connecting to one that has a client already succeeds, and no greeting comes.

    Raises:
        KernelRefused: `qmp.connect-refused`, `qmp.no-socket`, `qmp.connect-denied`; `qmp.connect-timeout` when the backlog
            stayed full; `qmp.path-too-long` when the last component alone is too long; `qmp.connect-failed` else.

    Touches: the socket; for a path of more than 107 bytes its directory, opened with O_PATH for the time of the connect.
    """
    with _reachable(path) as short_path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await _connect(sock, short_path, path, timeout_s)
            return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        except BaseException:
            sock.close()
            raise


async def _connect(sock: socket.socket, short_path: str, path: str, timeout_s: float) -> None:
    with trio.move_on_after(timeout_s):
        while True:
            await trio.lowlevel.checkpoint()
            try:
                sock.connect(short_path)
            except BlockingIOError:
                await trio.sleep(_RETRY_S)
            except OSError as error:
                raise _refusal_of(path, error) from error
            else:
                return
    message = f"{path} took no connection within {timeout_s:g} s: its backlog is full"
    raise KernelRefused("qmp.connect-timeout", path, errno.EAGAIN, message, "Find its other clients with `ss -xp`.")


@contextmanager
def _reachable(path: str) -> Iterator[str]:
    """A name for `path` that fits into sun_path while the block lasts."""
    if len(os.fsencode(path)) <= _PATH_LIMIT_BYTES:
        yield path
        return
    directory, name = os.path.split(path)
    try:
        directory_fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal_of(path, error) from error
    try:
        short_path = f"/proc/self/fd/{directory_fd}/{name}"
        if len(os.fsencode(short_path)) > _PATH_LIMIT_BYTES:
            message = f"{name} takes {len(os.fsencode(name))} bytes, a socket's name may take about 85"
            raise KernelRefused("qmp.path-too-long", path, errno.ENAMETOOLONG, message, "Choose a shorter name.")
        yield short_path
    finally:
        os.close(directory_fd)


def _refusal_of(path: str, error: OSError) -> KernelRefused:
    number = error.errno or 0
    code, meaning, hint = _CODES.get(number, ("qmp.connect-failed", os.strerror(number), None))
    return KernelRefused(code, path, number, f"cannot connect to {path}: {meaning}", hint)
