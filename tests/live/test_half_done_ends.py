"""The daemon dies in the middle of an end that was ordered: the next one goes on with it, and does it once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.harness import Daemon, running_daemon
from tests.live.views import codes_of, order, view_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


def begun(daemon: Daemon, verb: str, name: str, grace_s: float) -> int:
    """A VM whose guest was asked to power off and does not; its pid."""
    daemon.drop(name, daemon.halting(grace_s=grace_s))
    pid: int = daemon.wait_phase(name, "running")["pid"]
    order(daemon, verb, name, "--no-wait")
    wait_view(daemon, name, lambda view: view["phase"] == "stopping", "its guest was asked")
    return pid


def replace_daemon(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def test_a_stop_and_a_stop_that_was_forced_meanwhile(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        pid = begun(daemon, "stop", "vm", 600)
        replace_daemon(daemon)
        view = wait_view(daemon, "vm", lambda view: view["phase"] == "stopping", "the next daemon asks as well")
        assert (view["pid"], view["power"], view["adopted"]) == (pid, "off", True)
        order(daemon, "stop", "vm", "--force", "--no-wait")
        replace_daemon(daemon)
        view = wait_view(daemon, "vm", lambda view: view["phase"] == "absent", "nobody waits for ten minutes")
        assert (view["pid"], view["power"]) == (None, "off")


def test_a_restart_is_gone_on_with_and_done_once(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        first = begun(daemon, "restart", "vm", 3)
        replace_daemon(daemon)
        view = wait_view(daemon, "vm", lambda view: view["phase"] == "running" and view["pid"] != first, "it runs anew")
        assert (view["last_ending_code"], view["restarts"]) == ("vm.stopped", 0)
        replace_daemon(daemon)
        again = daemon.wait_phase("vm", "running")
        assert (again["pid"], again["adopted"]) == (view["pid"], True)
        assert "vm.stopping" not in codes_of(daemon, "vm")
        assert view_of(daemon, "vm")["power"] == "on"
