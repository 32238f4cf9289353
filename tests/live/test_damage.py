"""Notes of earlier days that are damaged: the VM that they belong to is held, with the reason, and no other is concerned."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.harness import Daemon, running_daemon
from tests.live.views import events_of, order, view_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


def damage(daemon: Daemon, name: str, note: str) -> Path:
    path = daemon.state_dir / "vms" / name / note
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"half')
    return path


def test_a_damaged_order_is_told_and_taken_for_no_order(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        path = damage(daemon, "odd", "power.json")
        daemon.drop("odd", daemon.halting())
        daemon.drop("even", daemon.halting())
        daemon.wait_phase("even", "running")
        view = wait_view(daemon, "odd", lambda view: view["trouble"], "it is told")
        assert (view["phase"], view["pid"], view["trouble_code"]) == ("absent", None, "process.note-unreadable")
        assert str(path) in view["trouble"]
        daemon.kill()
        daemon.start()
        view = wait_view(daemon, "odd", lambda view: view["trouble"], "the next daemon lives with it as well")
        assert order(daemon, "start", "odd")["phase"] == "running", "a new order replaces it"
        assert view_of(daemon, "odd")["trouble"] is None


def test_damaged_hardware_is_told_and_starts_nothing(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        path = damage(daemon, "odd", "guest.json")
        daemon.drop("odd", daemon.halting())
        view = wait_view(daemon, "odd", lambda view: view["trouble"], "it is told")
        assert (view["phase"], view["pid"], view["trouble_code"]) == ("absent", None, "process.note-unreadable")
        assert str(path) in view["trouble"]
        path.unlink()
        assert order(daemon, "start", "odd")["phase"] == "running"


def test_damaged_notes_in_one_directory_keep_no_vm_from_being_adopted(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        for name in ("odd", "even"):
            daemon.drop(name, daemon.halting())
            daemon.wait_phase(name, "running")
        daemon.kill()
        notes = daemon.run_dir / "vms" / "odd" / "pools.json"
        half = daemon.run_dir / "vms" / "half" / "pools.json"
        half.parent.mkdir(mode=0o700)
        for path in (notes, half):
            path.write_bytes(b'{"half')
        daemon.start()
        for name in ("odd", "even"):
            assert daemon.wait_phase(name, "running")["adopted"]
        told = [event for event in events_of(daemon, "odd") if event["code"] == "process.note-unreadable"]
        assert str(notes) in told[0]["message"]
        order(daemon, "stop", "odd", "--force", "--no-wait")
        view = wait_view(daemon, "odd", lambda view: view["trouble_code"] == "process.note-unreadable", "pages may be owed")
        assert view["pid"] is None
        notes.unlink()
        wait_view(daemon, "odd", lambda view: view["phase"] == "absent", "it is cleared away once that is gone")
