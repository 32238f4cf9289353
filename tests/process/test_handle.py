"""Identities and handles on real processes: children, strangers, zombies, and pids that were given to another."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from qsup.process.handle import UNKNOWN_TEXT, Ending, QemuProcess
from qsup.process.identity import ProcessIdentity, open_verified_pidfd, read_identity
from qsup.process.procfs import start_ticks_of, zombie_wait_status

Reaper = Callable[[ProcessIdentity], None]
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def _child(*words: str) -> int:
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    child.returncode = 0  # the handle reaps it
    return child.pid


def _identity(pid: int) -> ProcessIdentity:
    identity = read_identity(pid)
    assert identity is not None
    return identity


def _handle(pid: int) -> QemuProcess:
    process = QemuProcess.open(_identity(pid))
    assert process is not None
    return process


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans of this process become its children, whatever PID 1 does here."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


async def test_a_child_tells_its_exit_status() -> None:
    process = _handle(_child("sh", "-c", "exit 3"))
    await process.wait_gone()
    assert process.ending() == Ending(3, None, True, "exited with status 3")
    assert process.ending().exit_status == 3
    assert read_identity(process.pid) != process.identity, "it was reaped"
    process.close()


async def test_a_child_tells_its_signal() -> None:
    process = _handle(_child("sleep", "1000"))
    assert process.is_alive()
    assert process.ending() == Ending(None, None, False, "is still running")
    assert process.send_signal(signal.SIGKILL)
    await process.wait_gone()
    assert not process.is_alive()
    assert process.ending() == Ending(None, 9, True, "was killed by signal 9 (SIGKILL)")
    assert not process.send_signal(signal.SIGTERM)
    process.close()
    process.close()


async def test_any_number_of_tasks_may_wait_and_stop_waiting() -> None:
    process = _handle(_child("sleep", "1000"))
    gone: list[int] = []

    async def wait(number: int) -> None:
        await process.wait_gone()
        gone.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(wait, number)
        with trio.CancelScope() as scope:
            scope.cancel()
            await process.wait_gone()
        await trio.testing.wait_all_tasks_blocked()
        assert gone == []
        process.send_signal(signal.SIGTERM)
    assert sorted(gone) == [0, 1, 2, 3, 4]
    process.close()


def test_closing_does_not_end_the_process() -> None:
    process = _handle(_child("sleep", "1000"))
    process.close()
    assert (process.is_alive(), process.thread_count(), process.send_signal(signal.SIGKILL)) == (False, 0, False)
    again = _handle(process.pid)
    assert again.is_alive()
    again.send_signal(signal.SIGKILL)
    os.waitid(os.P_PIDFD, again.fileno(), os.WEXITED | os.WNOWAIT)
    again.close()


def test_a_pid_of_another_process_or_boot_is_not_taken() -> None:
    own = _identity(os.getpid())
    assert open_verified_pidfd(evolve(own, start_ticks=own.start_ticks + 1)) is None
    assert open_verified_pidfd(evolve(own, boot_id="another")) is None
    assert QemuProcess.open(evolve(own, pid=2**22 - 1)) is None
    assert read_identity(2**22 - 1) is None
    pidfd = open_verified_pidfd(own)
    assert pidfd is not None
    os.close(pidfd)


def test_a_name_with_parentheses_and_spaces_does_not_confuse() -> None:
    libc = ctypes.CDLL(None)
    before = start_ticks_of(os.getpid())
    name = Path("/proc/self/comm").read_text().strip()
    try:
        libc.prctl(_PR_SET_NAME, b") R 1 (0/KVM)", 0, 0, 0)
        assert start_ticks_of(os.getpid()) == before
    finally:
        libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


_GRANDCHILD = (
    "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).pid, flush=True); sys.stdin.read()"
)


_REAPING_PARENT = """
import subprocess
child = subprocess.Popen(["sh", "-c", "read x; exit 9"], stdin=0)
print(child.pid, flush=True)
child.wait()
print("reaped", flush=True)
"""


def _parent(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _stranger(*words: str) -> tuple[subprocess.Popen[str], QemuProcess]:
    """A process of another parent, which lives (and does not reap) until its stdin ends."""
    parent = _parent(_GRANDCHILD, *words)
    assert parent.stdout is not None
    return parent, _handle(int(parent.stdout.readline()))


async def test_a_zombie_of_another_parent_tells_its_status() -> None:
    parent, process = _stranger("sh", "-c", "read x; exit 5")
    with parent:
        os.kill(process.pid, signal.SIGTERM)
        await process.wait_gone()
        assert zombie_wait_status(process.pid) == signal.SIGTERM
        assert not process.is_alive()
        assert QemuProcess.open(process.identity) is not None, "a zombie is still that process"
        assert process.ending() == Ending(None, 15, True, "was killed by signal 15 (SIGTERM)")
    process.close()


async def test_a_reaped_stranger_tells_its_status_by_its_pidfd() -> None:
    """Linux ≥ 6.15; before, that nobody knows is said."""
    with _parent(_REAPING_PARENT) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        process = _handle(int(parent.stdout.readline()))
        parent.stdin.write("\n")
        parent.stdin.flush()
        await process.wait_gone()
        assert await trio.to_thread.run_sync(parent.stdout.readline) == "reaped\n"
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    expected = Ending(9, None, True, "exited with status 9") if release >= (6, 15) else Ending(None, None, False, UNKNOWN_TEXT)
    assert process.ending() == expected
    process.close()


async def test_an_orphan_whose_parent_was_killed_can_be_taken_over(subreaper: None) -> None:
    parent, first = _stranger("sleep", "1000")
    with parent:
        parent.kill()
    assert first.is_alive()
    adopted = QemuProcess.open(first.identity)
    assert adopted is not None
    adopted.send_signal(signal.SIGTERM)
    await adopted.wait_gone()
    assert adopted.ending().signal == signal.SIGTERM
    adopted.close()
    first.close()


THREADS = """
import sys, threading
for _ in range(3):
    threading.Thread(target=sys.stdin.read, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


def _child_with_threads() -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-S", "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


async def test_it_counts_the_threads_of_a_process() -> None:
    with _child_with_threads() as child:
        process = _handle(child.pid)
        assert process.thread_count() == len(os.listdir(f"/proc/{child.pid}/task")) == 4
        process.send_signal(signal.SIGKILL)
        await process.wait_gone()
        child.wait()
        assert process.thread_count() == 0
        process.close()
