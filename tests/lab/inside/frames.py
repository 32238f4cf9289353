"""The wire between the test process and the agent in the lab.

Strategy: the port is one byte stream that outlives every client, so each request starts with a line that cannot be
mistaken for a frame (a frame never starts with a newline), and is answered by a line that carries the request's own
nonce: whatever an earlier client left unread is skipped. After these two lines both sides speak frames.
"""

from __future__ import annotations

import struct
from enum import IntEnum

REQUEST = b"\nLAB1 "
ACCEPTED = b"\nOK "
CHUNK_BYTES = 64 * 1024

_HEADER = struct.Struct(">BI")


class Kind(IntEnum):
    """What a frame carries; none of them is 10, the newline."""

    STDIN = 0
    """Bytes for the command's standard input; empty for its end."""
    STDOUT = 1
    STDERR = 2
    EXIT = 3
    """JSON object with `status`: the exit status as a shell counts it (128 + signal for a killed command)."""
    SIGNAL = 4
    """One byte: the signal to send to the command's process group."""
    RESIZE = 5
    """Rows and columns of the terminal, two 16-bit numbers."""


def pack(kind: Kind, data: bytes = b"") -> bytes:
    """Return the frame as bytes."""
    return _HEADER.pack(kind, len(data)) + data


def pack_size(rows: int, columns: int) -> bytes:
    """Return the frame that tells the terminal's size."""
    return pack(Kind.RESIZE, struct.pack(">HH", rows, columns))


def unpack_size(data: bytes) -> tuple[int, int]:
    """Return rows and columns of a RESIZE frame."""
    rows, columns = struct.unpack(">HH", data)
    return rows, columns


class Frames:
    """Bytes in, whole frames out."""

    def __init__(self, pending: bytes = b"") -> None:
        self.pending = bytearray(pending)

    def feed(self, data: bytes) -> None:
        """Add bytes as they were read."""
        self.pending += data

    def next(self) -> tuple[Kind, bytes] | None:
        """Take the first whole frame, or None when more bytes are needed."""
        if len(self.pending) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self.pending)
        end = _HEADER.size + length
        if len(self.pending) < end:
            return None
        data = bytes(self.pending[_HEADER.size : end])
        del self.pending[:end]
        return Kind(kind), data

    def at_request(self) -> bool:
        """Tell whether the next bytes are the start of another request rather than a frame."""
        return self.pending[:1] == b"\n"
