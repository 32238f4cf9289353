"""The daemon as a process: its events as JSON, and its end at a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def test_each_event_is_one_line_of_json() -> None:
    with tempfile.TemporaryDirectory() as short:  # pytest's own are too long for a socket's path
        root = Path(short)
        (root / "vms").mkdir()
        (root / "vms" / "bad.toml").write_text("[cpu\n")
        (root / "settings.toml").write_text('[daemon]\nqemu = "/nowhere/qemu"\n')
        words = [sys.executable, "-m", "qsup.cli", "daemon", "--json", "--settings", str(root / "settings.toml")]
        words += ["--config-dir", str(root / "vms"), "--run-dir", str(root / "run"), "--state-dir", str(root / "state")]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            events = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
    assert {event["code"]: event["vm"] for event in events} == {"daemon.ready": None, "spec.syntax": "bad"}
    assert sorted(event["seq"] for event in events) == [1, 2]
    assert (process.returncode, said) == (0, b"")
