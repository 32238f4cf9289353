"""Files that are there whole or not at all, whenever the daemon or the host dies."""

from __future__ import annotations

import os
from contextlib import suppress

from qsup.process.refusals import refusing


def write_atomically(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file beside it, force it to disk, put it in its place.

    Raises:
        KernelRefused: process.write-refused, process.disk-full. The old file is untouched and nothing is left beside it.

    Order: data, then name, then the directory that holds the name.
    """
    beside = f"{path}.tmp"
    try:
        with refusing("process.write-refused", path, "write"):
            _write(beside, data, mode)
            os.rename(beside, path)
            _sync_directory(os.path.dirname(path))
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _write(path: str, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
