"""Back-off and the start limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsup.reconcile.backoff import delay_s, reason_to_give_up, recent_failures
from qsup.spec.vm import VmSectionSpec

RULES = VmSectionSpec(restart_delay_s=1.0, restart_delay_max_s=60.0, start_limit=5, start_limit_interval_s=600.0)


def test_the_delay_doubles_up_to_its_maximum() -> None:
    assert [delay_s(count, RULES) for count in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_only_failures_within_the_interval_count() -> None:
    assert recent_failures((0.0, 399.0, 401.0, 1000.0), RULES, 1000.0) == (401.0, 1000.0)


def test_the_limit_and_the_policy_name_themselves() -> None:
    assert [bool(reason_to_give_up(count, RULES)) for count in (0, 4, 5, 6)] == [False, False, True, True]
    assert "5 times within 600 s" in reason_to_give_up(5, RULES)
    assert "never" in reason_to_give_up(1, VmSectionSpec(restart="never"))


@given(st.integers(0, 10_000))
def test_the_delay_never_shrinks_and_never_exceeds_its_maximum(count: int) -> None:
    assert delay_s(count, RULES) <= delay_s(count + 1, RULES) <= RULES.restart_delay_max_s
