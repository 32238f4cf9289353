"""Verbs that stay: following events, the console; signals and pipes that end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve

from tests.api.serving import Served, serving
from tests.api.views import EVENT, FULL_VM
from tests.cli.running import ENVIRONMENT, qsup, words_of


@asynccontextmanager
async def running(served: Served, *words: str, stdin: int = subprocess.PIPE) -> AsyncIterator[trio.Process]:
    """A command that goes on by itself."""
    environment = ENVIRONMENT | {"QSUP_RUN_DIR": str(served.run_dir)}
    process = await trio.lowlevel.open_process(
        words_of(*words), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    try:
        with trio.fail_after(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()


async def read_until(process: trio.Process, mark: bytes) -> bytes:
    assert process.stdout is not None
    text = b""
    while mark not in text:
        data = await process.stdout.receive_some(4096)
        assert data, text
        text += data
    return text


async def stderr_of(process: trio.Process) -> bytes:
    assert process.stderr is not None
    return b"".join([bytes(part) async for part in process.stderr])


async def test_following_events(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, running(served, "events", "-f", "--json") as process:
        assert (await read_until(process, b'"seq": 8')).count(b"\n") >= 1
        await served.registry.wait_until(lambda: served.registry.follower_count() > 0)
        served.registry.publish(evolve(EVENT, seq=9))
        await read_until(process, b'"seq": 9')
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await stderr_of(process) == b""


async def test_a_daemon_that_ends_ends_the_following(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, running(served, "events", "-f") as process:
        await read_until(process, b"daemon.ready")
        await served.registry.wait_until(lambda: served.registry.follower_count() > 0)
        served.scope.cancel()
        assert await process.wait() == 75
        assert b"the daemon went away" in await stderr_of(process)


async def test_a_closed_output_is_no_fault(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.registry.history = [evolve(EVENT, seq=seq, message="x" * 300) for seq in range(1, 1000)]
        async with running(served, "events") as process:
            assert process.stdout is not None
            await process.stdout.aclose()
            assert await process.wait() == 141
            assert await stderr_of(process) == b""


async def test_console_through_pipes(tmp_path: Path) -> None:
    """The end of the input does not end the console: what the guest says is still printed."""
    async with serving(tmp_path) as served, running(served, "console", "web1") as process:
        assert process.stdin is not None
        await process.stdin.send_all(b"root\n\x1d")
        guest = await guest_end(served)
        assert await guest.receive_some(100) == b"root\n\x1d"
        await process.stdin.aclose()
        await guest.send_all(b"login: \xff")
        await read_until(process, b"login: \xff")
        await guest.aclose()
        assert await process.wait() == 0


async def guest_end(served: Served) -> trio.abc.Stream:
    await served.registry.wait_until(lambda: bool(served.registry.guest_ends))
    return served.registry.guest_ends[0]


async def test_a_guest_that_does_not_read_can_still_talk(tmp_path: Path) -> None:
    """Keys that nobody takes do not keep the guest's output from being shown."""
    async with serving(tmp_path) as served, running(served, "console", "web1") as process:
        guest = await guest_end(served)
        async with trio.open_nursery() as nursery:
            assert process.stdin is not None
            nursery.start_soon(process.stdin.send_all, b"x" * 5_000_000)
            await guest.send_all(b"y" * 2_000_000 + b"END")
            await read_until(process, b"END")
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def on_terminal(served: Served, *words: str) -> AsyncIterator[tuple[trio.Process, int, int]]:
    """The command with a terminal as its input: the process, the terminal's two ends."""
    master, slave = pty.openpty()
    try:
        async with running(served, *words, stdin=slave) as process:
            yield process, master, slave
    finally:
        os.close(master)
        os.close(slave)


def is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & termios.ICANON


@pytest.mark.parametrize("escape", [((), b"\x1d"), (("--escape", "^a"), b"\x01")], ids=["default", "chosen"])
async def test_console_on_a_terminal(tmp_path: Path, escape: tuple[tuple[str, ...], bytes]) -> None:
    words, key = escape
    async with serving(tmp_path) as served, on_terminal(served, "console", "web1", *words) as (process, master, slave):
        guest = await guest_end(served)
        await guest.send_all(b"ready")
        await read_until(process, b"ready")
        assert is_raw(slave)
        os.write(master, b"\x03ls" + key + b"rest")
        assert await guest.receive_some(100) == b"\x03ls"
        assert await process.wait() == 0
        assert not is_raw(slave)
        assert b"left the console" in await stderr_of(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_the_terminal_is_restored_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    async with serving(tmp_path) as served, on_terminal(served, "console", "web1") as (process, _, slave):
        guest = await guest_end(served)
        await guest.send_all(b"ready")
        await read_until(process, b"ready")
        assert is_raw(slave)
        process.send_signal(number)
        assert await process.wait() == 128 + number
        assert not is_raw(slave)
        assert b"Traceback" not in await stderr_of(process)


async def test_console_ends_with_the_guest(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, on_terminal(served, "console", "web1") as (process, _, slave):
        guest = await guest_end(served)
        await guest.aclose()
        assert await process.wait() == 0
        assert not is_raw(slave)


async def test_console_tail(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
    async with serving(tmp_path) as served:
        served.registry.vms["web1"] = evolve(FULL_VM, serial_log=str(log))
        async with running(served, "console", "web1", "--tail", "2") as process:
            guest = await guest_end(served)
            await guest.send_all(b"now\n")
            assert await read_until(process, b"now\n") == b"line 98\nline 99\nnow\n"
        served.registry.vms["web1"] = evolve(FULL_VM, serial_log=str(tmp_path / "gone"))
        async with running(served, "console", "web1", "--tail", "2") as process:
            assert process.stderr is not None
            assert b"no tail" in await process.stderr.receive_some(1000)


@pytest.mark.parametrize("text", ["x", "^", "^!", "^]]", "ctrl"])
async def test_wrong_escape_keys(text: str) -> None:
    assert (await qsup("console", "web1", "--escape", text)).code == 2
