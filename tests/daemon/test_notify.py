"""sd_notify and the watchdog, against a socket as systemd's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from qsup.daemon.notify import feed_watchdog, notify, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listener


def received(listener: socket.socket) -> list[bytes]:
    """All that has come so far."""
    messages = []
    while True:
        try:
            messages.append(listener.recv(4096))
        except BlockingIOError:
            return messages


def test_a_state_reaches_the_manager(manager: socket.socket) -> None:
    notify("READY=1")
    notify("STOPPING=1")
    assert received(manager) == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/at/all"])
def test_without_a_listening_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_an_abstract_address_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"qsup-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("period", "pid", "interval_s"),
    [(None, None, None), ("0", None, None), ("junk", None, None), ("30000000", None, 15.0), ("30000000", "1", None)],
)
def test_the_interval_is_half_the_period_and_only_for_this_process(
    period: str | None, pid: str | None, interval_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", period), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_interval_s() == interval_s


async def test_the_watchdog_is_fed_from_the_loop_itself(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with trio.move_on_after(35):
        await feed_watchdog()
    assert received(manager) == [b"WATCHDOG=1"] * 4


async def test_without_a_watchdog_the_feeder_ends(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    with trio.fail_after(1):
        await feed_watchdog()
