"""An audit as JSON: field names are those of `truth/audit/report.py` (docs/api.md); the same with and without a daemon."""

from __future__ import annotations

from qsup.truth.audit.report import AuditReport, Finding, Untold
from qsup.truth.audit.rule import Rule

Json = dict[str, object]


def audit_json(report: AuditReport, at_s: float) -> Json:
    """What became of every rule."""
    return {
        "at_s": round(at_s, 3),
        "findings": [_finding_json(finding) for finding in report.findings],
        "unknown": [_untold_json(untold) for untold in report.unknown],
        "irrelevant": [_untold_json(untold) for untold in report.irrelevant],
        "passed": list(report.passed),
        "skipped": list(report.skipped),
        "notes": list(report.notes),
    }


def _finding_json(finding: Finding) -> Json:
    return {
        "rule_id": finding.rule_id,
        "severity": finding.severity,
        "title": finding.title,
        "why": finding.why,
        "cost": {"figure": finding.cost.figure, "source": finding.cost.source},
        "places": [
            {
                "subject": place.subject,
                "what": place.what,
                "evidence": [{"file": evidence.file, "value": evidence.value} for evidence in place.evidence],
                "mend": place.mend,
            }
            for place in finding.places
        ],
        "lasting": finding.lasting,
    }


def _untold_json(untold: Untold) -> Json:
    return {"rule_id": untold.rule_id, "why": untold.why}


def rule_json(rule: Rule) -> Json:
    """One rule, as `qsup audit --explain` and `--rules` tell it."""
    return {
        "rule_id": rule.rule_id,
        "severity": rule.severity,
        "title": rule.title,
        "why": rule.why,
        "cost": {"figure": rule.cost.figure, "source": rule.cost.source},
        "mend": rule.mend,
        "lasting": rule.lasting,
        "reads": list(rule.reads),
    }
