"""[console] planned: whether there is a serial port, and how much log is kept."""

from __future__ import annotations

from attrs import frozen

from qsup.plan.case import Case


@frozen
class ConsolePlan:
    """As VmPlan has it."""

    serial: bool
    log_bytes: int


def plan_console(case: Case) -> ConsolePlan:
    """Taken as asked: nothing on a host limits it."""
    return ConsolePlan(case.spec.console.serial, case.spec.console.log_bytes)
