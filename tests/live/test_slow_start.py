"""A QEMU that takes its time before it greets: nobody ends it for that, and how far it is can be seen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.hugepages import pool_turn
from tests.live.evidence import pool_pages
from tests.live.harness import Daemon, running_daemon
from tests.live.views import order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

HUGEPAGES = 4
# Takes pages as preallocation does, then waits for a word before it becomes QEMU; asked what it can do, it is QEMU at once.
SLOW_QEMU = f"""#!{os.path.realpath(sys.executable)} -IS
import mmap, os, sys
if sys.argv[sys.argv.index("-machine") + 1] != "none":
    size = {HUGEPAGES} << 21
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
    for offset in range(0, size, 1 << 21):
        pages[offset] = 1
    open(sys.argv[0] + ".go").read()
os.execvp("qemu-system-x86_64", ["qemu-system-x86_64", *sys.argv[1:]])
"""


@frozen
class Slow:
    """A daemon whose QEMU waits for a word."""

    daemon: Daemon
    gate: Path

    def release(self) -> None:
        """Give the word."""
        self.gate.write_bytes(b"")


@pytest.fixture
def slow(tmp_path: Path, open_dir: Path) -> Iterator[Slow]:
    qemu, gate = open_dir / "qemu", open_dir / "qemu.go"
    qemu.write_text(SLOW_QEMU)
    qemu.chmod(0o755)
    os.mkfifo(gate)
    gate.chmod(0o666)
    with pool_turn():
        before = pool_pages()
        with running_daemon(tmp_path, f'[daemon]\nqemu = "{qemu}"\n') as daemon:
            yield Slow(daemon, gate)
        assert pool_pages() == before


def begun(daemon: Daemon, name: str) -> None:
    """A VM on 32 MiB of hugepages, its start under way."""
    text = daemon.halting(memory='size = "32MiB"\nhugepages = "2MiB"')
    daemon.drop(name, text.replace("[vm]", "[vm]\nautostart = false", 1))
    wait_known(daemon, name)
    order(daemon, "start", name, "--no-wait")


def test_how_far_it_is_can_be_seen_also_by_the_next_daemon(slow: Slow) -> None:
    daemon = slow.daemon
    begun(daemon, "slow")
    for adopted in (False, True):
        view = wait_view(
            daemon, "slow", lambda view: view["starting"] and view["starting"]["taken_bytes"] == HUGEPAGES << 21, "pages came"
        )
        assert (view["phase"], view["adopted"]) == ("launched", adopted)
        assert view["starting"]["planned_bytes"] == 32 << 20
        assert view["starting"]["still_s"] >= 0
        assert view["process"]["hugepages_bytes"] == HUGEPAGES << 21
        assert "8MiB of 32MiB preallocated (25 %)" in daemon.cli("status", "slow").stdout
        assert "8MiB of 32MiB preallocated (25 %)" in daemon.cli("list").stdout
        if not adopted:
            daemon.kill()
            daemon.start()
    slow.release()
    view = daemon.wait_phase("slow", "running")
    assert view["starting"] is None
    assert view["process"]["hugepages_bytes"] == 32 << 20
    order(daemon, "stop", "slow", "--force")


def test_the_timeline_names_what_took_the_time(slow: Slow) -> None:
    daemon = slow.daemon
    begun(daemon, "timed")
    wait_view(daemon, "timed", lambda view: view["starting"] and view["starting"]["taken_bytes"], "pages came")
    slow.release()
    daemon.wait_phase("timed", "running")
    (start,) = view_of(daemon, "timed")["starts"]
    names = [stage["stage"] for stage in start["stages"]]
    assert names.index("spawn") < names.index("prealloc") < names.index("greeting")
    order(daemon, "stop", "timed", "--force")


def test_a_start_that_is_given_up_ends_it(slow: Slow) -> None:
    daemon = slow.daemon
    begun(daemon, "never")
    pid = wait_view(daemon, "never", lambda view: view["starting"], "it is under way")["pid"]
    assert order(daemon, "stop", "never")["phase"] == "absent"
    assert not os.path.exists(f"/proc/{pid}")
    (start,) = view_of(daemon, "never")["starts"]
    assert start["outcome"] == "vm.stopped"
