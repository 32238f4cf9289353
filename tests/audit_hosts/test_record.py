"""`qsup audit --record`: a recording tells the rules the same as the machine, but for what lies in images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsup.host.audit.processes import qemu_pids
from qsup.host.audit.record import audit_tree
from qsup.host.record import write_tree
from qsup.truth.audit.report import AuditReport, audit
from tests.audit_hosts.recordings import SECTIONS, facts_of, laid_over, overlay_of, recorded_rules
from tests.cli.running import qsup

IN_IMAGES = {"disk.chain-deep", "disk.qcow2-not-preallocated", "disk.qcow2-small-cache", "disk.scheduler", "disk.far-node"}


def all_faults() -> dict[str, dict[str, Any]]:
    """The overlays of all rules, one upon the other: where two write one file, the last one does."""
    merged: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for rule_id in recorded_rules():
        overlay = overlay_of(rule_id, "trips")
        for section in SECTIONS - {"images"}:
            merged[section].update(overlay.get(section, {}))
    return merged


def without_images(report: AuditReport) -> list[object]:
    kept = [
        [one for one in rows if one.rule_id not in IN_IMAGES] for rows in (report.findings, report.unknown, report.irrelevant)
    ]
    return [*kept, [rule_id for rule_id in report.passed if rule_id not in IN_IMAGES]]


def recorded_again(root: Path, to: Path) -> Path:
    texts = {path.stem: path.read_text() for path in (root / "etc/qsup/vms.d").iterdir()}
    write_tree(audit_tree(qemu_pids(str(root)), texts, str(root)), str(to))
    return to


def test_a_recording_of_the_sound_host(base: Path, tmp_path: Path) -> None:
    again = audit(facts_of(recorded_again(base, tmp_path)))
    assert without_images(again) == without_images(audit(facts_of(base)))
    assert {one.rule_id for one in again.unknown} <= IN_IMAGES


def test_a_recording_of_a_host_with_every_fault(base: Path, tmp_path: Path) -> None:
    with laid_over(base, all_faults()):
        report = audit(facts_of(base))
        again = audit(facts_of(recorded_again(base, tmp_path)))
    assert len(report.findings) > 30
    assert without_images(again) == without_images(report)


async def test_this_host_can_be_recorded_and_says_the_same(tmp_path: Path) -> None:
    vms, to = tmp_path / "vms", tmp_path / "recorded"
    vms.mkdir()
    (vms / "web1.toml").write_text('[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n')
    nobody = ("--run-dir", str(tmp_path / "none"), "--config-dir", str(vms))
    ran = await qsup("audit", "--record", str(to), "--json", *nobody)
    assert (ran.code, ran.err, ran.json["vms"]) == (0, "", ["web1"])
    ours = (await qsup("audit", "--json", *nobody)).json
    theirs = (await qsup("audit", "--json", "--host", str(to))).json
    assert [one["rule_id"] for one in theirs["findings"]] == [one["rule_id"] for one in ours["findings"]]
    assert "web1.toml" in json.dumps(sorted(path.name for path in to.rglob("*")))


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = await qsup("audit", "--record", str(tmp_path / "file"), "--run-dir", str(tmp_path), "--config-dir", str(tmp_path))
    assert (ran.code, "[cli.not-written]" in ran.err) == (1, True)
