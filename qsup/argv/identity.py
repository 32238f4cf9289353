"""Who the VM is: its name and its uuid."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan


def options_of_identity(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """-name and -uuid."""
    name = key_values(None, ("guest", plan.name), ("debug-threads", "on"))
    return [
        Option("-name", name, "the file's name; rule: threads carry names, so that top and /proc can be read", literal=True),
        Option("-uuid", plan.uuid, "rule: one uuid for the VM's life, from its guest record"),
    ]
