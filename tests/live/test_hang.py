"""A QEMU that says nothing: shown with its age, harmless to every other VM, healed by itself, and ended without its help.

A silence takes its time to be noticed: so all that need one begin together, in one test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.evidence import leftovers
from tests.live.harness import Daemon, running_daemon
from tests.live.views import codes_of, order, view_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


NOTICED_SOON = "[daemon]\nunresponsive_after_s = 2\n"


@pytest.fixture
def daemon(open_dir: Path) -> Iterator[Daemon]:
    """A daemon that does not wait long for an answer."""
    with running_daemon(open_dir, NOTICED_SOON) as running:
        yield running
    assert leftovers(running) == []


@pytest.fixture
def crashed(tmp_path: Path) -> Iterator[Daemon]:
    """A second one."""
    with running_daemon(tmp_path, NOTICED_SOON) as running:
        yield running
    assert leftovers(running) == []


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Pids to stop; what of them is left at the end goes on."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def freeze(daemon: Daemon, name: str, stopped: list[int]) -> int:
    """Start a VM and stop its QEMU with SIGSTOP."""
    daemon.drop(name, daemon.halting())
    pid: int = daemon.wait_phase(name, "running")["pid"]
    stopped.append(pid)
    os.kill(pid, signal.SIGSTOP)
    return pid


def assert_served(daemon: Daemon) -> None:
    """Other VMs start, stop and come while one of them is frozen."""
    assert order(daemon, "stop", "other")["phase"] == "absent"
    assert order(daemon, "start", "other")["phase"] == "running"
    daemon.drop("newcomer", daemon.halting())
    assert daemon.wait_phase("newcomer", "running")["pid"]


def test_silence_delays_nobody_heals_by_itself_or_is_ended(daemon: Daemon, crashed: Daemon, stopped: list[int]) -> None:
    daemon.drop("other", daemon.halting())
    daemon.wait_phase("other", "running")
    frozen, stuck = freeze(daemon, "frozen", stopped), freeze(daemon, "stuck", stopped)
    unwatched = freeze(crashed, "unwatched", stopped)
    crashed.kill()
    crashed.start()
    assert_served(daemon)

    silent = wait_view(daemon, "frozen", lambda view: view["phase"] == "unresponsive", "its silence is noticed")
    assert silent["silent_s"] > 0
    assert (silent["power"], silent["qemu_status"], silent["pid"]) == ("on", "running", frozen)
    assert daemon.vms()["frozen"]["silent_s"] >= silent["silent_s"], "it grows"
    assert "silent for" in daemon.cli("status", "frozen").stdout
    assert "vm.unresponsive" in codes_of(daemon, "frozen")
    assert order(daemon, "start", "frozen")["message"] == "already unresponsive"
    assert order(daemon, "pause", "frozen", check=1)["error"]["code"] == "supervisor.not-now"
    assert_served(daemon)

    adopted = wait_view(crashed, "unwatched", lambda view: view["phase"] == "unresponsive", "a new daemon notices it too")
    assert (adopted["adopted"], adopted["pid"]) == (True, unwatched)
    wait_view(daemon, "stuck", lambda view: view["phase"] == "unresponsive", "the other one is as silent")
    for owner, name in ((daemon, "stuck"), (crashed, "unwatched")):
        assert order(owner, "stop", name, "--force", "--no-wait")["message"] == "accepted"

    os.kill(frozen, signal.SIGCONT)
    healed = wait_view(daemon, "frozen", lambda view: view["phase"] == "running", "it answers again")
    assert (healed["pid"], healed["silent_s"]) == (frozen, None)
    assert codes_of(daemon, "frozen")[-1] == "vm.responsive"

    for owner, name, pid in ((daemon, "stuck", stuck), (crashed, "unwatched", unwatched)):
        wait_view(owner, name, lambda view: view["phase"] == "absent", "it is ended without its monitor")
        assert pid not in owner.qemu_pids()
        assert view_of(owner, name)["last_ending_code"] == "vm.killed"
        assert not (owner.run_dir / "vms" / name).exists()


def test_frozen_for_a_while_only_and_no_daemon_noticed(daemon: Daemon, stopped: list[int]) -> None:
    pid = freeze(daemon, "brief", stopped)
    daemon.kill()
    daemon.start()
    assert view_of(daemon, "brief")["phase"] != "running", "nobody has heard of it yet"
    os.kill(pid, signal.SIGCONT)
    view = wait_view(daemon, "brief", lambda view: view["phase"] == "running" and view["threads"], "it answers the new daemon")
    assert (view["pid"], view["adopted"]) == (pid, True)
    assert "vm.unresponsive" not in codes_of(daemon, "brief")
