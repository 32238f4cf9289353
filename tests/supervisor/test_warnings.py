"""A plan's warnings are events once, and what is told of a trouble is that of the last one."""

from __future__ import annotations

from attrs import evolve

from qsup.errors import Problem, QemuFailed, Reason, Refused
from qsup.supervisor.events import EventLog
from qsup.supervisor.preparing import publish_warnings
from qsup.supervisor.vm_state import VmState
from tests.argv.plans import vm_plan


def warned(*codes: str, message: str = "…") -> tuple[Problem, ...]:
    return tuple(Problem(code, message) for code in codes)


def test_each_kind_of_warning_is_told_once_until_there_is_a_fresh_chance() -> None:
    events, vm = EventLog(sinks=()), VmState("web1")
    plan = evolve(vm_plan(), warnings=warned("plan.pin-overlaps-vm", "plan.emulated"))
    publish_warnings(events, vm, plan)
    publish_warnings(events, vm, evolve(plan, warnings=warned("plan.pin-overlaps-vm", message="now with db2")))
    publish_warnings(events, vm, evolve(plan, warnings=warned("plan.smt-absent")))
    assert [event.code for event in events.history()] == ["plan.pin-overlaps-vm", "plan.emulated", "plan.smt-absent"]
    vm.past.fresh_chance()
    publish_warnings(events, vm, plan)
    assert [event.code for event in events.history(3)] == ["plan.pin-overlaps-vm", "plan.emulated"]


def test_a_refusal_is_shown_no_more_once_something_else_went_wrong() -> None:
    past = VmState("web1").past
    reasons = (Reason("plan.bridge-absent", "the bridge br0 does not exist"),)
    past.refusal = reasons
    past.note_trouble(Refused(reasons))
    assert len(past.refusal) == 1
    past.note_trouble(QemuFailed("vm.start-failed", "QEMU exited with status 1 before the guest ran", "…", "no bios"))
    assert not past.refusal
