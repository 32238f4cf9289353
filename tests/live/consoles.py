"""The serial console as a person's tool sees it: bytes to the guest, bytes from it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from qsup.api.client import Rejected, vm_path
from tests.live.harness import PATIENCE_S, Daemon, until


class Console:
    """A raw connection to a VM's console."""

    def __init__(self, connection: socket.socket, first: bytes = b"") -> None:
        self._connection = connection
        self._seen = first

    def send(self, data: bytes) -> None:
        """Type."""
        self._connection.sendall(data)

    def read_until(self, wanted: bytes) -> bytes:
        """Everything up to and with the wanted bytes; fails where the console ends before."""
        while wanted not in self._seen:
            data = self._connection.recv(4096)
            assert data, f"the console ended; it said {self._seen!r}"
            self._seen += data
        head, found, self._seen = self._seen.partition(wanted)
        return head + found

    def read_to_end(self) -> bytes:
        """Everything until the far side ends."""
        while data := self._connection.recv(4096):
            self._seen += data
        return self._seen


@contextmanager
def attached(daemon: Daemon, name: str) -> Iterator[Console]:
    """The console through the daemon, once nobody else has it."""

    def upgraded() -> tuple[socket.socket, bytes] | None:
        try:
            return daemon.client.upgrade(vm_path(name, "/console"), "qsup-console")
        except Rejected as rejected:
            if rejected.error["code"] != "supervisor.console-taken":
                raise
            return None

    connection, first = until(upgraded, f"the console of {name} is free")
    with connection:
        connection.settimeout(PATIENCE_S)
        yield Console(connection, first)


@contextmanager
def attached_without_daemon(daemon: Daemon, name: str) -> Iterator[Console]:
    """The console's own socket in the VM's run directory."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(daemon.run_dir / "vms" / name / "console.sock"))
        yield Console(connection)


def say(daemon: Daemon, name: str, data: bytes) -> None:
    """Type to the guest and leave once it has heard: what QEMU has not handed to it is lost when the console is left."""
    with attached(daemon, name) as console:
        console.send(data)
        console.read_until(data)
