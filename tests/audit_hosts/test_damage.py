"""Files that are missing, empty or nonsense: a rule says that it could not be told, or does not apply; nothing ever raises."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.host.audit.gather import read_audit_facts
from qsup.truth.audit.facts import AuditFacts
from qsup.truth.audit.report import audit
from qsup.truth.audit.table import RULES
from tests.audit_hosts.recordings import facts_of, laid_over

NONSENSE = ("", "\n", "  (null)\n", "99999999999999999999 -7 [x] 0x1 Node 0, zone x 1 2 3:: \0\0-name\0guest=,\n" * 3)


@pytest.fixture(scope="module")
def sound(base: Path) -> AuditFacts:
    return facts_of(base)


def paths_of(base: Path) -> list[str]:
    """Every file that an audit reads, of pCPUs those of the first two."""
    every = sorted(f"/{path.relative_to(base)}" for path in base.rglob("*") if path.is_file())
    far = tuple(f"/sys/devices/system/cpu/cpu{pcpu}/" for pcpu in range(2, 32))
    return [path for path in every if not path.startswith(far)]


@pytest.mark.parametrize("content", [False, *NONSENSE], ids=["missing", "empty", "blank", "null", "nonsense"])
def test_each_file_by_itself(base: Path, sound: AuditFacts, content: str | bool) -> None:
    pids = {vm.plan.name: vm.process.pid for vm in sound.vms if vm.process is not None}
    for path in paths_of(base):
        with laid_over(base, {"files": {path: content}}):
            report = audit(read_audit_facts(sound.host, sound.plans, pids, sound.pages_taken, str(base)))
        untold = [one.rule_id for one in (*report.unknown, *report.irrelevant)]
        listed = [*report.passed, *untold, *(one.rule_id for one in report.findings)]
        assert sorted(listed) == sorted(rule.rule_id for rule in RULES), path


def test_a_machine_that_tells_nothing(sound: AuditFacts, tmp_path: Path) -> None:
    report = audit(read_audit_facts(sound.host, sound.plans, {"db1": 1}, None, str(tmp_path)))
    assert {"cpu.clocksource", "memory.no-thp", "irq.on-owned-pcpus", "limits.memory", "hugepages.foreign"} <= {
        one.rule_id for one in report.unknown
    }
    assert {one.severity for one in report.findings} <= {"medium"}  # what the plans alone tell, and pools that nothing keeps
    assert all(one.why for one in (*report.unknown, *report.irrelevant))


def test_what_is_missing_is_named(base: Path) -> None:
    clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    with laid_over(base, {"files": {clock: False, "/proc/interrupts": False, "/sys/kernel/mm/transparent_hugepage": False}}):
        report = audit(facts_of(base))
    whys = {one.rule_id: one.why for one in report.unknown}
    assert whys["cpu.clocksource"] == f"cannot be read: {clock}"
    assert whys["irq.on-owned-pcpus"] == "cannot be read: /proc/interrupts"
    assert whys["memory.no-thp"] == "cannot be read: /sys/kernel/mm/transparent_hugepage/enabled"


def test_a_setting_with_an_unknown_value_is_not_taken_for_sound(base: Path) -> None:
    with laid_over(base, {"files": {"/proc/sys/kernel/numa_balancing": "maybe"}}):
        report = audit(facts_of(base))
    assert {one.rule_id: one.why for one in report.unknown} == {
        "memory.numa-balancing": "/proc/sys/kernel/numa_balancing says 'maybe', which is no known value"
    }
