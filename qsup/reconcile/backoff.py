"""When a VM that failed may start again: exponential delay, and a limit of failures within an interval."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.spec.vm import VmSectionSpec


def recent_failures(failures_s: Sequence[float], rules: VmSectionSpec, now_s: float) -> tuple[float, ...]:
    """The failures (monotonic seconds, ascending) that still count: those within the start-limit interval."""
    return tuple(moment for moment in failures_s if now_s - moment < rules.start_limit_interval_s)


def delay_s(failure_count: int, rules: VmSectionSpec) -> float:
    """Seconds to wait after the n-th failure in a row: the first delay doubled each time, up to the maximum; 0 for none."""
    if failure_count <= 0:
        return 0.0
    doublings = min(failure_count - 1, 32)
    return min(rules.restart_delay_s * 2.0**doublings, rules.restart_delay_max_s)


def reason_to_give_up(failure_count: int, rules: VmSectionSpec) -> str:
    """Why a VM that failed so often within the interval is left down until an operator acts; empty where it is not."""
    if rules.restart == "never":
        return 'it failed, and its restart policy is "never"'
    if failure_count >= rules.start_limit:
        return f"it failed {failure_count} times within {rules.start_limit_interval_s:g} s, its start limit"
    return ""
