"""What a process has taken of the host, read of real processes that have taken something."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qsup.host.hugepages import grow_pool, shrink_pool
from qsup.host.own_process import read_own_process
from qsup.host.process_stats import read_process_stats
from tests.hugepages import pool_turn

HUGEPAGE_BYTES = 2 << 20
TAKES = """
import mmap, sys, time
began = time.process_time()
resident = bytearray(b"x") * (32 << 20)
while time.process_time() - began < 0.2:
    pass
if sys.argv[1:] == ["huge"]:
    pages = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
    pages[0] = 1
print("taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def taking(*words: str) -> Iterator[int]:
    """A process that has taken 32 MiB, a fifth of a second, and with "huge" one hugepage."""
    command = [sys.executable, "-c", TAKES, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_memory_and_processor_time_of_a_process() -> None:
    with taking() as pid:
        stats = read_process_stats(pid)
    assert stats is not None
    assert stats.resident_bytes >= 32 << 20
    assert stats.hugepages_bytes == 0
    assert stats.cpu_s >= 0.19
    assert stats.cpu_s == stats.user_s + stats.system_s
    assert stats.read_bytes is not None
    assert stats.written_bytes is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="adds a hugepage")
def test_hugepages_are_counted_apart() -> None:
    with pool_turn():
        grow_pool(0, HUGEPAGE_BYTES, 1)
        try:
            with taking("huge") as pid:
                stats = read_process_stats(pid)
        finally:
            shrink_pool(0, HUGEPAGE_BYTES, 1)
    assert stats is not None
    assert stats.hugepages_bytes == HUGEPAGE_BYTES


def test_a_process_that_is_gone_has_none() -> None:
    with taking() as pid:
        pass
    assert read_process_stats(pid) is None


def test_this_very_process() -> None:
    own = read_own_process()
    assert own.resident_bytes > 1 << 20
    assert 0 < own.open_fds <= own.most_fds
    assert own.cpu_s > 0
    assert read_process_stats(os.getpid()) is not None
