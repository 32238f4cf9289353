"""Writing one line so that its sender knows whether it was begun.

Strategy: a command that is cancelled before its first byte left is clean, later it is not. `trio.SocketStream.send_all`
does not tell the two apart, so sockets are written here by their own send calls; for any other stream the line counts
as begun just before `send_all`.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable, Sequence

import trio

from qsup.errors import KernelRefused


async def write_line(stream: trio.abc.Stream, line: bytes, fds: Sequence[int], on_first_byte: Callable[[], None]) -> None:
    """Write the whole line; call `on_first_byte` as soon as a byte of it may have left. One writer at a time.

    Args:
        fds: descriptors that travel with the first byte (SCM_RIGHTS); only with a SocketStream. QEMU clears their
            O_NONBLOCK, which is shared with the sender's own descriptor (QEMU chardev/char-socket.c, 7.2).

    Raises:
        trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        KernelRefused: `qmp.fd-refused`, no byte left: a descriptor is not open, or too many are in flight.
    """
    if isinstance(stream, trio.SocketStream):
        await _write_to_socket(stream.socket, line, fds, on_first_byte)
        return
    await trio.lowlevel.checkpoint_if_cancelled()
    on_first_byte()
    await stream.send_all(line)


def write_at_once(stream: trio.abc.Stream, line: bytes) -> int:
    """Write what the socket takes without waiting; the number of bytes, 0 also where the connection is gone or no socket."""
    if not isinstance(stream, trio.SocketStream):
        return 0
    try:
        return os.write(stream.socket.fileno(), line)
    except OSError:
        return 0


async def _write_to_socket(
    sock: trio.socket.SocketType, line: bytes, fds: Sequence[int], on_first_byte: Callable[[], None]
) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    try:
        sent_bytes = await sock.sendmsg([line], ancillary)
        on_first_byte()
        while sent_bytes < len(line):
            sent_bytes += await sock.send(memoryview(line)[sent_bytes:])
    except ConnectionError as error:
        raise trio.BrokenResourceError(f"the connection broke while writing: {error}") from error
    except OSError as error:
        if sock.fileno() < 0 or not fds:
            raise trio.BrokenResourceError(f"the connection broke while writing: {error}") from error
        message = f"the kernel refused to pass descriptors {list(fds)}: {error.strerror}"
        raise KernelRefused("qmp.fd-refused", "sendmsg", error.errno or 0, message) from error
