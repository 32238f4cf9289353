"""Events into the journal, one entry an event, with fields of their own.

Source: systemd's JOURNAL_NATIVE_PROTOCOL. The socket is non-blocking: a journal that does not read costs events there,
never time here.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

from qsup.supervisor.events import Sink, print_event
from qsup.supervisor.view import EventView

JOURNAL_SOCKET = "/run/systemd/journal/socket"
_WARNING, _INFO = "4", "6"
NEWS = frozenset({
    "config.changed",
    "config.removed",
    "daemon.ready",
    "host.pool-grown",
    "host.pool-kept",
    "vm.adopted",
    "vm.ended-to-restart",
    "vm.forgotten",
    "vm.guest-powered-off",
    "vm.host-rebooted",
    "vm.killing",
    "vm.memory-moved",
    "vm.repinned",
    "vm.reset",
    "vm.responsive",
    "vm.started",
    "vm.stopped",
    "vm.stopping",
    "vm.terminating",
})  # fmt: skip
"""What needs nobody: information. Everything else, whatever it is called, is a warning."""


class Journal:
    """A sink that sends each event to the journal; what the journal does not take goes to stderr as a line."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def __call__(self, event: EventView) -> None:
        """Send one event."""
        try:
            self._socket.sendto(entry_of(event), JOURNAL_SOCKET)
        except OSError:
            print_event(event)

    def close(self) -> None:
        """Close the socket; events go to stderr from then on."""
        self._socket.close()


def open_sink() -> Sink:
    """The journal where this process' stderr is connected to it (JOURNAL_STREAM), else lines on stderr."""
    if not _stderr_is_journal() or not os.path.exists(JOURNAL_SOCKET):
        return print_event
    return Journal()


def _stderr_is_journal() -> bool:
    """JOURNAL_STREAM names the device and inode of the stream that systemd gave (man 5 systemd.exec)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    status = os.fstat(sys.stderr.fileno())
    return stream == f"{status.st_dev}:{status.st_ino}"


def entry_of(event: EventView) -> bytes:
    """One event in the journal's native format: MESSAGE, PRIORITY, QSUP_VM, QSUP_CODE and a QSUP_… field for each detail."""
    subject = f"{event.vm}: " if event.vm else ""
    fields = {
        "MESSAGE": subject + event.message,
        "PRIORITY": _INFO if event.code in NEWS else _WARNING,
        "SYSLOG_IDENTIFIER": "qsup",
        "QSUP_CODE": event.code,
    }
    if event.vm:
        fields["QSUP_VM"] = event.vm
    details = {_name_of(key): value for key, value in event.fields.items()}
    for key, value in details.items():
        fields.setdefault(key, value)  # a detail never speaks for the event itself
    return b"".join(_field(key, value) for key, value in fields.items())


def _name_of(key: str) -> str:
    return "QSUP_" + "".join(char if char.isalnum() and char.isascii() else "_" for char in key.upper())


def _field(key: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return key.encode() + b"=" + data + b"\n"
    return key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
