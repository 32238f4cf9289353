"""[machine]: the board, the accelerator, and the board's properties."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan


def options_of_machine(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """-machine and -accel. Further `-machine key=value` of other sections add to the first one: QEMU merges them."""
    return [
        Option(
            "-machine",
            key_values(plan.machine),
            "[machine] type; rule: the versioned name from the guest record, so that the guest's hardware never changes",
        ),
        Option("-accel", plan.accel, f"[machine] accel = {plan.accel}"),
        Option("-machine", "hpet=off", "rule: no HPET, its emulation costs and guests have better clocks"),
        Option("-machine", "dump-guest-core=off", "rule: a core dump of QEMU leaves the guest's memory out"),
        Option("-machine", "mem-merge=off", "rule: KSM would move pages off their planned host node"),
    ]
