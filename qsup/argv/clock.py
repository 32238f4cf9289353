"""Clocks: what a guest gets back of the ticks that it missed while it did not run.

Source: virt-install's defaults for Linux guests (rtc catchup, pit delay, no hpet); QEMU 7.2, `-rtc` in qemu-options.hx.
"""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan


def options_of_clock(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """-rtc; the PIT's policy where KVM emulates it."""
    options = [
        Option("-rtc", key_values(None, ("base", "utc"), ("driftfix", "slew")), "rule: RTC in UTC, missed ticks caught up"),
    ]
    if plan.accel == "kvm" and "kvm-pit" in caps.object_types:
        options.append(Option("-global", "kvm-pit.lost_tick_policy=delay", "rule: missed PIT ticks come late, never in bursts"))
    return options
