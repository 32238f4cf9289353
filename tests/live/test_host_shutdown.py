"""The host goes down: guests are stopped whatever has become of the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qsup.process.run_dir import holder_of
from tests.live.harness import PATIENCE_S, Daemon, running_daemon

pytestmark = [pytest.mark.live, pytest.mark.root]


def begin_host_shutdown(daemon: Daemon) -> subprocess.Popen[str]:
    """What qsup-guests.service runs when it is stopped."""
    words = [sys.executable, "-m", "qsup.cli", "stop", "--all", "--host-shutdown", "--state-dir", str(daemon.state_dir)]
    environment = {**os.environ, "QSUP_RUN_DIR": str(daemon.run_dir)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_through_the_daemon(daemon: Daemon) -> None:
    daemon.drop("a", daemon.halting())
    daemon.wait_phase("a", "running")
    shutdown = begin_host_shutdown(daemon)
    out, err = shutdown.communicate(timeout=PATIENCE_S)
    assert (shutdown.returncode, err) == (0, "")
    assert out.startswith("a: ")
    assert daemon.vms()["a"]["phase"] == "absent"
    assert daemon.process is not None
    assert holder_of(str(daemon.run_dir)) == daemon.process.pid


def test_without_a_daemon_that_dies_meanwhile(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.drop("a", daemon.halting(grace_s=5))
        daemon.wait_phase("a", "running")
        shutdown = begin_host_shutdown(daemon)
        daemon.wait_phase("a", "stopping")
        daemon.kill()
        assert daemon.qemu_pids()
        assert holder_of(str(daemon.run_dir)) in (None, shutdown.pid)
        _, err = shutdown.communicate(timeout=PATIENCE_S)
        assert shutdown.returncode == 0, err
        assert daemon.qemu_pids() == []


def test_what_is_dead_already_is_cleared_away_and_not_started(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        pids = []
        for name in "abc":
            daemon.drop(name, daemon.halting())
            pids.append(daemon.wait_phase(name, "running")["pid"])
        daemon.kill()
        for pid in pids[:2]:
            os.kill(pid, signal.SIGKILL)
        (daemon.run_dir / "vms" / "half-made").mkdir(mode=0o700)
        _, err = begin_host_shutdown(daemon).communicate(timeout=PATIENCE_S)
        assert "vm.started" not in err
        assert err.count("[vm.died-unseen]") == 2
        assert daemon.qemu_pids() == []
        assert not list((daemon.run_dir / "vms").iterdir())


def test_a_daemon_that_hangs_is_ended_and_its_guests_are_stopped(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.drop("a", daemon.halting())
        daemon.drop("b", daemon.halting())
        for name in "ab":
            daemon.wait_phase(name, "running")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        shutdown = begin_host_shutdown(daemon)
        _, err = shutdown.communicate(timeout=PATIENCE_S)
        assert shutdown.returncode == 0, err
        assert f"pid {daemon.process.pid}, does not answer" in err
        assert daemon.process.wait(PATIENCE_S) == -signal.SIGKILL
        assert daemon.qemu_pids() == []


def test_a_daemon_that_hangs_after_it_took_the_order(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.drop("a", daemon.halting(grace_s=5))
        daemon.wait_phase("a", "running")
        shutdown = begin_host_shutdown(daemon)
        daemon.wait_phase("a", "stopping")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        _, err = shutdown.communicate(timeout=PATIENCE_S)
        assert shutdown.returncode == 0, err
        assert daemon.process.wait(PATIENCE_S) == -signal.SIGKILL
        assert daemon.qemu_pids() == []

