"""No rule without a recorded host that trips it, and one that does not; and what a rule must say of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qsup.truth.audit.report import AuditReport, audit
from qsup.truth.audit.rule import SEVERITIES, Rule
from qsup.truth.audit.table import RULES
from tests.audit_hosts.recordings import facts_of, laid_over, overlay_of, recorded_rules

_COMMANDS = "apt|cpupower|echo|ethtool|for|grep|ip|modprobe|prlimit|qemu-img|sysctl|systemctl|tuned-adm"
COMMAND = re.compile(rf"(?:# |(?:{_COMMANDS}) |{{mend}} )")
TOPICS = ["kvm", "cpu", "placement", "irq", "memory", "hugepages", "disk", "network", "agents", "limits"]


@pytest.fixture(scope="session")
def sound(base: Path) -> AuditReport:
    return audit(facts_of(base))


def test_there_are_enough_rules_and_each_is_recorded() -> None:
    ids = [rule.rule_id for rule in RULES]
    assert len(ids) == len(set(ids)) >= 40
    assert sorted(ids) == recorded_rules()


def test_the_sound_host_trips_nothing(sound: AuditReport) -> None:
    assert [place.what for finding in sound.findings for place in finding.places] == []
    assert sound.unknown == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_each_rule_trips_on_its_recording(rule: Rule, base: Path) -> None:
    overlay = overlay_of(rule.rule_id, "trips")
    assert overlay
    with laid_over(base, overlay):
        report = audit(facts_of(base))
    finding = next((finding for finding in report.findings if finding.rule_id == rule.rule_id), None)
    assert finding is not None
    for place in finding.places:
        assert place.subject
        assert place.what
        assert place.evidence
        assert all(evidence.file and evidence.value for evidence in place.evidence)
        assert not re.search(r"\{[a-z]+\}", place.mend), f"a word of the command is not filled: {place.mend}"
    assert finding.lasting is None or not re.search(r"\{[a-z]+\}", finding.lasting)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_each_rule_has_a_host_that_is_fine(rule: Rule, base: Path, sound: AuditReport) -> None:
    overlay = overlay_of(rule.rule_id, "fine")
    if not overlay:
        assert rule.rule_id in sound.passed
        return
    with laid_over(base, overlay):
        assert rule.rule_id in audit(facts_of(base)).passed


def test_a_recording_leaves_the_base_as_it_was(base: Path, sound: AuditReport) -> None:
    assert audit(facts_of(base)) == sound


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_a_rule_says_what_it_must(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*", rule.rule_id)
    assert rule.topic in TOPICS
    assert rule.severity in SEVERITIES
    assert rule.title[0] == rule.title[0].lower() or rule.title.startswith(
        ("KVM", "QEMU", "KSM", "AutoNUMA", "VM", "MTU", "LRO", "SMT")
    )
    assert rule.why.endswith(".")
    assert COMMAND.match(rule.mend), "a command, or a comment that may be pasted as well"
    assert rule.reads
    assert (rule.cost.figure is None) == (rule.cost.source is None), "a figure stands with its source"
    assert rule.cost.percent is None or rule.cost.figure is not None


def test_topics_stand_together() -> None:
    topics = [rule.topic for rule in RULES]
    assert list(dict.fromkeys(topics)) == TOPICS
    assert topics == sorted(topics, key=TOPICS.index)
