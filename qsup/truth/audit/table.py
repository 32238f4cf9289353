"""All rules, by topic, in the order in which they are told where nothing else decides."""

from __future__ import annotations

import difflib

from qsup.errors import BadRequest
from qsup.truth.audit import agents, disk, hugepages, interrupts, kvm, limits, memory, network, placement, processor
from qsup.truth.audit.rule import Rule

RULES: tuple[Rule, ...] = (
    *kvm.RULES,
    *processor.RULES,
    *placement.RULES,
    *interrupts.RULES,
    *memory.RULES,
    *hugepages.RULES,
    *disk.RULES,
    *network.RULES,
    *agents.RULES,
    *limits.RULES,
)
_BY_ID = {rule.rule_id: rule for rule in RULES}


def rule_of(rule_id: str) -> Rule:
    """The rule with this id.

    Raises:
        BadRequest: `truth.no-such-rule`.
    """
    rule = _BY_ID.get(rule_id)
    if rule is None:
        near = difflib.get_close_matches(rule_id, _BY_ID, 1)
        hint = f"did you mean {near[0]}?" if near else "qsup audit --rules lists all"
        raise BadRequest("truth.no-such-rule", f"there is no rule called {rule_id!r}", hint)
    return rule
