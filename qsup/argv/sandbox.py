"""-sandbox: the system calls that QEMU gives up.

QEMU makes thread-context objects before it enters the sandbox, wherever they stand on the command line; so
resourcecontrol=deny, which forbids sched_setaffinity, does not get into their way (QEMU 7.2, object_create_pre_sandbox in
softmmu/vl.c; run).
"""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan


def options_of_sandbox(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """Everything that QEMU can deny itself."""
    denied = ("obsolete", "elevateprivileges", "spawn", "resourcecontrol")
    value = key_values("on", *((word, "deny") for word in denied))
    return [Option("-sandbox", value, "rule: QEMU starts no process, gains no right, and moves no thread of its own")]
