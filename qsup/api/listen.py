"""The API's listening socket: made ready beside its name, then renamed over it, so that nobody ever meets it half-made."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from qsup.errors import KernelRefused

SOCKET_NAME = "api.sock"
_UNREADY_NAME = ".api.new"
_PATH_BYTES_MAX = 107
_BACKLOG = 128


def group_id_of(name: str) -> int | None:
    """The number of a group; None where this host has no such group.

    Touches: the group database.
    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@asynccontextmanager
async def open_api_socket(run_dir: str, group: int | None) -> AsyncIterator[trio.SocketListener]:
    """Listen on `RUN_DIR/api.sock`; a file left there by a dead daemon is replaced, and the name goes away at the end.

    The socket belongs to the daemon's user. With a group that this user may give it to, its mode is 0660, else 0600.

    Raises:
        KernelRefused: api.socket-path-too-long, api.cannot-listen.

    Order: the caller holds the run directory's lock, or it takes the name from a living daemon.
    Touches: RUN_DIR/api.sock, RUN_DIR/.api.new.
    """
    path = Path(run_dir) / SOCKET_NAME
    _check_length(path)
    listener = _listen(path, group)
    identity = path.stat().st_ino
    try:
        async with listener:
            yield listener
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == identity:
                path.unlink()


def _check_length(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > _PATH_BYTES_MAX:
        raise KernelRefused(
            "api.socket-path-too-long",
            str(path),
            errno.ENAMETOOLONG,
            f"the socket path {path} has {length} bytes, a Unix socket takes at most {_PATH_BYTES_MAX}",
            "choose a shorter --run-dir",
        )


def _listen(path: Path, group: int | None) -> trio.SocketListener:
    unready = path.with_name(_UNREADY_NAME)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        unready.unlink(missing_ok=True)
        sock.bind(str(unready))
        unready.chmod(_mode_after_chown(unready, group))
        sock.listen(_BACKLOG)
        unready.rename(path)
    except OSError as error:
        sock.close()
        raise KernelRefused(
            "api.cannot-listen",
            str(path),
            error.errno or 0,
            f"cannot listen on {path}: {error.strerror}",
            "check the rights and the free space of the run directory",
        ) from error
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _mode_after_chown(path: Path, group: int | None) -> int:
    if group is None:
        return 0o600
    try:
        os.chown(path, -1, group)
    except PermissionError:
        return 0o600
    return 0o660
