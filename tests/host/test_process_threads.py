"""A process with its children, its cpusets, and what its disks leave behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from qsup.host.aio import read_aio
from qsup.host.process_threads import children_of, read_process

GONE = 1 << 22


@pytest.fixture
def child() -> Iterator[int]:
    """A process that waits for the end of its input, and says so."""
    with subprocess.Popen(["sh", "-c", "echo here; read _"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_children_and_their_threads_are_helpers(child: int) -> None:
    if not os.path.exists("/proc/self/task/self/children") and not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        pytest.skip("the kernel does not tell children (CONFIG_PROC_CHILDREN)")
    assert child in children_of(os.getpid())
    seen = read_process(os.getpid(), ())
    assert os.getpid() in {thread.tid for thread in seen.threads}
    assert child in {thread.tid for thread in seen.helpers}
    assert seen.cpusets.keys() == {thread.tid for thread in (*seen.threads, *seen.helpers)}
    assert seen.online


def test_a_process_that_is_gone() -> None:
    seen = read_process(GONE, ())
    assert (seen.threads, seen.helpers, dict(seen.cpusets)) == ((), (), {})
    assert children_of(GONE) == ()
    assert read_aio(GONE).native_contexts is read_aio(GONE).uring_contexts is None


def test_this_process_uses_no_asynchronous_disk() -> None:
    aio = read_aio(os.getpid())
    assert (aio.native_contexts, aio.uring_contexts, aio.fallbacks) == (0, 0, ())
