"""The outcome of an audit: findings, the worst first; what could not be told; what is in order.

Strategy: a rule that trips in many places is one finding with many places, so two hundred VMs with one fault make one entry.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable

from attrs import frozen

from qsup.truth.audit.facts import AuditFacts
from qsup.truth.audit.rule import SEVERITIES, Cost, Evidence, Found, Irrelevant, Rule, Severity, Unknown
from qsup.truth.audit.table import RULES

_NAMES = frozenset({"file", "link", "path", "unit", "vm"})


@frozen
class Place:
    """Where a rule trips, with the command for this place."""

    subject: str
    what: str
    evidence: tuple[Evidence, ...]
    mend: str


@frozen
class Finding:
    """One rule that trips, with all places; the cost is the host's own figure where it has one."""

    rule_id: str
    severity: Severity
    title: str
    why: str
    cost: Cost
    places: tuple[Place, ...]
    lasting: str | None


@frozen
class Untold:
    """A rule that had no answer, and why."""

    rule_id: str
    why: str


@frozen
class AuditReport:
    """What became of each rule; every rule stands in exactly one of the lists.

    `skipped` were left out on request. `notes` say what the audit is not.
    """

    findings: tuple[Finding, ...]
    unknown: tuple[Untold, ...]
    irrelevant: tuple[Untold, ...]
    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()


def audit(facts: AuditFacts, skip: Collection[str] = (), notes: tuple[str, ...] = ()) -> AuditReport:
    """Ask every rule that is not skipped."""
    findings, unknown, irrelevant, passed = [], [], [], []
    for rule in RULES:
        if rule.rule_id in skip:
            continue
        answer = rule.look(facts)
        if isinstance(answer, Unknown):
            unknown.append(Untold(rule.rule_id, answer.why))
        elif isinstance(answer, Irrelevant):
            irrelevant.append(Untold(rule.rule_id, answer.why))
        elif answer:
            findings.append(_finding(rule, answer))
        else:
            passed.append(rule.rule_id)
    skipped = tuple(rule.rule_id for rule in RULES if rule.rule_id in skip)
    return AuditReport(_by_weight(findings), tuple(unknown), tuple(irrelevant), tuple(passed), skipped, notes)


def _finding(rule: Rule, found: Iterable[Found]) -> Finding:
    places = tuple(found)
    told = [place.cost for place in places if place.cost is not None]
    cost = max(told, key=_percent, default=rule.cost)
    shown = tuple(Place(one.subject, one.what, one.evidence, _filled(rule.mend, one)) for one in places)
    lasting = None if rule.lasting is None else _filled(rule.lasting, places[0])
    return Finding(rule.rule_id, rule.severity, rule.title, rule.why, cost, shown, lasting)


def _filled(template: str, found: Found) -> str:
    """The command for one place. Names that others gave are quoted, since the command is pasted into a root shell."""
    for word, value in found.fill.items():
        template = template.replace(f"{{{word}}}", shlex.quote(value) if word in _NAMES else value)
    return template


def _percent(cost: Cost) -> float:
    return cost.percent or 0.0


def _by_weight(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By severity, then by what is known to be gained, then in the order of the table."""

    def weight(one: Finding) -> tuple[int, float, bool]:
        return SEVERITIES.index(one.severity), -_percent(one.cost), one.cost.figure is None

    return tuple(sorted(findings, key=weight))
