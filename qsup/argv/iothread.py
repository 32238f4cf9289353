"""Iothreads: the disks' requests get threads of their own, which are pinned like the vCPUs."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import json_text
from qsup.plan.vmplan import VmPlan


def options_of_iothreads(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """One object per iothread of the plan."""
    why = "[[disk]] iothread = true: requests are served beside QEMU's main loop"
    return [
        Option("-object", json_text({"qom-type": "iothread", "id": iothread.iothread_id}), why) for iothread in plan.iothreads
    ]
