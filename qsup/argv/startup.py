"""How QEMU comes up, the same for every VM: held, without a display, with nothing that was not asked for."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan


def options_of_startup(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """-S, -display, -nodefaults, -no-user-config, -action."""
    # shutdown=pause keeps a guest's own power-off readable as status "shutdown" while no daemon listens.
    action = key_values(None, ("shutdown", "pause"), ("panic", "pause"), ("reboot", "reset"))
    return [
        Option("-S", None, "rule: threads are pinned and read back before the guest's first instruction"),
        Option("-display", "none", "rule: no display; without it QEMU opens VNC on port 5900"),
        Option("-nodefaults", None, "rule: nothing by default"),
        Option("-no-user-config", None, "rule: nothing by default, also not from QEMU's own config files"),
        Option("-action", action, "rule: a guest that powered off or panicked stays readable; [vm] restart decides"),
    ]
