"""Events into a journal: a real datagram socket in its place, read back by journald's own rules."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.daemon import journal
from qsup.daemon.journal import NEWS, entry_of
from qsup.supervisor.events import Sink, print_event
from qsup.supervisor.view import EventView

EVENT = EventView(7, 1000.0, "web1", "vm.thread-moved-back", "vcpu 0 is back", {"thread": "vcpu 0", "tid": "42"})


def fields_in(entry: bytes) -> list[tuple[str, str]]:
    """JOURNAL_NATIVE_PROTOCOL: `NAME=value` lines, or NAME, a 64-bit little-endian length, the value, each with a newline."""
    found = []
    while entry:
        line, newline, rest = entry.partition(b"\n")
        assert newline
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, entry = rest[8 : 8 + length], rest[8 + length :]
            assert entry[:1] == b"\n"
            entry = entry[1:]
        else:
            entry = rest
        found.append((name.decode("ascii"), value.decode()))
    return found


@contextmanager
def opened() -> Iterator[Sink]:
    """The sink that this process' stderr calls for, closed at the end."""
    sink = journal.open_sink()
    assert isinstance(sink, journal.Journal)
    yield sink
    sink.close()


@contextmanager
def journald(root: Path, stream: str | None = None) -> Iterator[socket.socket]:
    """A socket where the journal's would be, and a stderr (the file `stream`) that JOURNAL_STREAM says is connected to it."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        (root / "stream").open("w", buffering=1) as stderr,
        redirect_stderr(stderr),
        pytest.MonkeyPatch.context() as patch,
    ):
        sock.settimeout(30)
        sock.bind(str(root / "journal"))
        status = os.fstat(stderr.fileno())
        patch.setattr(journal, "JOURNAL_SOCKET", str(root / "journal"))
        patch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}" if stream is None else stream)
        yield sock


def test_an_event_is_one_entry_with_fields_of_its_own(tmp_path: Path) -> None:
    with journald(tmp_path) as reader:
        with opened() as send:
            send(EVENT)
        entry = reader.recv(65536)
    assert dict(fields_in(entry)) == {
        "MESSAGE": "web1: vcpu 0 is back",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "qsup",
        "QSUP_CODE": "vm.thread-moved-back",
        "QSUP_VM": "web1",
        "QSUP_THREAD": "vcpu 0",
        "QSUP_TID": "42",
    }


def test_lines_stay_together_and_forge_no_field(tmp_path: Path) -> None:
    words = "could not load\nQSUP_VM=db1\n\n"
    with journald(tmp_path) as reader:
        with opened() as send:
            send(EventView(1, 0.0, None, "vm.died", "QEMU died:\nPRIORITY=0", {"last-words": words, "hint": ""}))
        fields = fields_in(reader.recv(65536))
    names = [name for name, _ in fields]
    assert names == ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "QSUP_CODE", "QSUP_LAST_WORDS", "QSUP_HINT"]
    assert dict(fields)["QSUP_LAST_WORDS"] == words
    assert dict(fields)["PRIORITY"] == "4"
    assert dict(fields)["MESSAGE"] == "QEMU died:\nPRIORITY=0"


def test_a_journal_that_does_not_read_costs_lines_on_stderr_and_no_time(tmp_path: Path) -> None:
    stream = tmp_path / "stream"
    with journald(tmp_path) as reader, opened() as send:
        sent = 0
        while not stream.read_text():
            send(EVENT)
            sent += 1
            assert sent < 100_000
        assert stream.read_text() == "web1: vcpu 0 is back [vm.thread-moved-back]\n"
        for _ in range(sent - 1):
            reader.recv(65536)
        send(EVENT)
        assert dict(fields_in(reader.recv(65536)))["QSUP_VM"] == "web1", "once it reads again, it gets entries again"


def test_a_journal_that_restarts_is_found_again(tmp_path: Path) -> None:
    with journald(tmp_path) as reader, opened() as send:
        reader.close()
        (tmp_path / "journal").unlink()
        send(EVENT)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as fresh:
            fresh.settimeout(30)
            fresh.bind(str(tmp_path / "journal"))
            send(EVENT)
            assert fresh.recv(65536)
    assert (tmp_path / "stream").read_text().count("\n") == 1


@pytest.mark.parametrize("stream", ["", "1:2", "rubbish"])
def test_without_a_journal_on_stderr_events_are_plain_lines(tmp_path: Path, stream: str) -> None:
    with journald(tmp_path, stream):
        assert journal.open_sink() is print_event


texts = st.text(max_size=30)


keys = st.from_regex(r"[a-z][a-z_-]{0,9}", fullmatch=True).filter(lambda key: key not in ("vm", "code"))


@given(texts, texts.filter(bool), st.dictionaries(keys, texts, max_size=4))
def test_whatever_happens_is_read_back(message: str, vm: str, details: dict[str, str]) -> None:
    entry = journal.entry_of(EventView(1, 0.0, vm, "vm.started", message, details))
    fields = fields_in(entry)
    assert fields[0][1] == f"{vm}: {message}"
    read = [value for name, value in fields if name.startswith("QSUP_")][2:]
    assert read == list(details.values())


def test_what_needs_nobody_is_information_and_all_else_a_warning() -> None:
    page = (Path(__file__).parents[2] / "docs" / "codes.md").read_text()
    assert set(re.findall(r"^\| `([a-z.-]+)` \| event: [^|]* \| nothing", page, re.MULTILINE)) == NEWS
    for code, priority in (("vm.started", 6), ("vm.unresponsive", 4), ("vm.io-error", 4), ("plan.bridge-absent", 4)):
        assert b"PRIORITY=%d\n" % priority in entry_of(EventView(1, 0.0, "web1", code, "…", {}))
