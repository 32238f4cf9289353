"""A QEMU that says nothing: shown with its age, harmless to every other VM, healed by itself, and ended without its help."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.live.harness import Daemon, until
from tests.live.views import View, order, view_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


@contextmanager
def frozen_vm(daemon: Daemon, name: str) -> Iterator[View]:
    """A running VM whose QEMU is stopped (SIGSTOP) and has been found silent."""
    daemon.drop(name, daemon.halting())
    pid = daemon.wait_phase(name, "running")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield wait_view(daemon, name, lambda view: view["phase"] == "unresponsive", "its silence is noticed")
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_silence_has_an_age_delays_nobody_and_heals_by_itself(daemon: Daemon) -> None:
    daemon.drop("other", daemon.halting())
    daemon.wait_phase("other", "running")
    with frozen_vm(daemon, "frozen") as view:
        assert view["silent_s"] > 0
        assert (view["power"], view["qemu_status"]) == ("on", "running")
        assert daemon.vms()["frozen"]["silent_s"] >= view["silent_s"], "it grows"
        assert "silent for" in daemon.cli("status", "frozen").stdout

        assert order(daemon, "stop", "other")["phase"] == "absent"
        assert order(daemon, "start", "other")["phase"] == "running"
        assert order(daemon, "start", "frozen")["message"] == "already unresponsive"
        assert order(daemon, "pause", "frozen", check=1)["error"]["code"] == "supervisor.not-now"
        daemon.drop("newcomer", daemon.halting())
        daemon.wait_phase("newcomer", "running")
        assert view_of(daemon, "frozen")["phase"] == "unresponsive"

        os.kill(view["pid"], signal.SIGCONT)
        healed = wait_view(daemon, "frozen", lambda view: view["phase"] == "running", "it answers again")
        assert (healed["pid"], healed["silent_s"]) == (view["pid"], None)


def test_a_frozen_qemu_is_ended_without_its_monitor(daemon: Daemon) -> None:
    with frozen_vm(daemon, "stuck") as view:
        assert order(daemon, "stop", "stuck", "--force")["phase"] == "absent"
        assert not os.path.exists(f"/proc/{view['pid']}")
        ended = view_of(daemon, "stuck")
        assert ended["last_ending_code"] == "vm.killed"
        assert not (daemon.run_dir / "vms" / "stuck").exists()


def test_frozen_while_no_daemon_watched_it_is_found_so(daemon: Daemon) -> None:
    daemon.drop("unwatched", daemon.halting())
    pid = daemon.wait_phase("unwatched", "running")["pid"]
    daemon.kill()
    os.kill(pid, signal.SIGSTOP)
    try:
        daemon.start()
        view = view_of(daemon, "unwatched")
        assert (view["phase"], view["adopted"], view["pid"]) == ("unresponsive", True, pid)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_view(daemon, "unwatched", lambda view: view["phase"] == "running", "it answers the new daemon")
    until(lambda: view_of(daemon, "unwatched")["threads"], "its threads are looked at")
    assert view_of(daemon, "unwatched")["pid"] == pid
