"""The end of a VM's serial log."""

from __future__ import annotations

import sys

_READ_BYTES = 1 << 16


def tail_of_log(path: str | None, line_count: int) -> bytes:
    """The last lines, from at most the log's last 64 KiB; nothing where it cannot be read, and stderr says so.

    Touches: the log file, read-only.
    """
    if path is None:
        return b""
    try:
        with open(path, "rb") as log:
            size = log.seek(0, 2)
            log.seek(max(size - _READ_BYTES, 0))
            return b"".join(log.read().splitlines(keepends=True)[-line_count:])
    except OSError as error:
        print(f"qsup: no tail: {path}: {error.strerror}", file=sys.stderr)
        return b""
