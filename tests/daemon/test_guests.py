"""Stopping guests without the daemon: its story goes where the daemon's would go."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from qsup.daemon import guests
from qsup.supervisor.view import EventView


def test_events_go_to_the_sink_that_stderr_calls_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[EventView] = []
    monkeypatch.setattr(guests, "open_sink", lambda: told.append)
    (tmp_path / "run/vms/web1").mkdir(parents=True, mode=0o700)
    (tmp_path / "run/vms/web1/launch.json").write_text("no record")
    args = Namespace(run_dir=str(tmp_path / "run"), state_dir=str(tmp_path / "state"), force=False)
    assert guests.main(args) == 1, "what cannot be told is left alone"
    assert [(event.vm, event.code) for event in told] == [("web1", "vm.stray")]
