"""What costs here? The audit of a daemon with VMs that run: their plans, their processes, the host as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from qsup.truth.audit.table import RULES
from tests.live.harness import Daemon, running_daemon

pytestmark = [pytest.mark.live, pytest.mark.root]


def test_running_vms_are_audited_by_their_plans_and_processes(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    image = tmp_path / "a.raw"
    image.touch(0o666)
    os.truncate(image, 1 << 20)
    disk = f'[[disk]]\npath = "{image}"\nformat = "raw"\naio = "threads"\niothread = false\n'
    with running_daemon(tmp_path) as daemon:
        daemon.drop("db1", daemon.halting(disk, cpu='vcpus = 1\nplacement = "pinned"\npin = ["1"]\nemulator = "1"'))
        daemon.drop("web1", daemon.halting())
        for name in ("db1", "web1"):
            daemon.wait_phase(name, "running")
        report: dict[str, Any] = json.loads(daemon.cli("audit", "--json", check=1).stdout)
        text = daemon.cli("audit", "--brief", check=1).stdout
        skipped = [word for one in report["findings"] for word in ("--skip", one["rule_id"])]
        assert json.loads(daemon.cli("audit", "--json", *skipped, check=None).stdout)["findings"] == []
        alone = json.loads(audit_without_daemon(daemon))
    assert report["notes"] == []
    by_rule = {one["rule_id"]: [place["subject"] for place in one["places"]] for one in report["findings"]}
    assert "db1" in by_rule["placement.emulator-on-vcpus"]
    assert by_rule["disk.no-iothread"] == by_rule["disk.threads-with-direct"] == ["db1"]
    assert {"limits.memory", "limits.nofile", "memory.guest-swapped"} <= set(report["passed"])  # the processes were looked at
    assert by_rule["placement.model-hides-features"] == ["db1", "web1"]
    listed = [*report["passed"], *(one["rule_id"] for key in ("findings", "unknown", "irrelevant") for one in report[key])]
    assert sorted(listed) == sorted(rule.rule_id for rule in RULES)
    assert "emulator of db1 (its worker threads and its main loop) may run on pCPUs 1, which vCPUs of db1 own" in text
    # The launch records and the processes tell the same without a daemon.
    assert {one["rule_id"] for one in alone["findings"]} == set(by_rule)
    assert "no daemon answers" in alone["notes"][0]


def audit_without_daemon(daemon: Daemon) -> str:
    """The daemon dies, its VMs stay; then it comes back to end them."""
    daemon.kill()
    try:
        return daemon.cli("audit", "--json", check=1).stdout
    finally:
        daemon.start()
