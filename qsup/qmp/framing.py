"""Bytes to lines, bounded.

Strategy: QMP is one JSON object a line, CR LF at its end; JSON strings cannot hold a raw newline, so every LF ends a
message. Each chunk is scanned once, so a long line costs linear time however small the pieces it arrives in. The lines
do not depend on where the chunks were cut, neither does the place at which a line is found to be too long.
"""

from __future__ import annotations

from collections.abc import Iterator

from qsup.errors import QmpLost


class LineSplitter:
    """Cuts a stream of chunks into lines without their LF; keeps at most `limit_bytes` of an unfinished line."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._unfinished = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that this chunk completes, oldest first.

        Raises:
            QmpLost: `qmp.oversized`, after the lines before the too long one; feed nothing more then.
        """
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._append(piece)
            line = bytes(self._unfinished)
            self._unfinished.clear()
            yield line
        self._append(rest)

    def _append(self, piece: bytes) -> None:
        size_bytes = len(self._unfinished) + len(piece)
        if size_bytes > self._limit_bytes:
            message = f"QEMU sent a line of {size_bytes} bytes or more, {self._limit_bytes} bytes are accepted"
            raise QmpLost("qmp.oversized", None, message, outcome_known=False)
        self._unfinished += piece
