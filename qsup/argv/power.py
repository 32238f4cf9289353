"""Power states: no sleep that nobody can end, and a way for the guest to say that it panicked."""

from __future__ import annotations

from qsup.argv.board import power_controller_of
from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import json_text
from qsup.plan.vmplan import VmPlan


def options_of_power(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """S3 and S4 switched off; pvpanic where the binary has it."""
    controller = power_controller_of(plan.machine)
    options = [
        Option("-global", f"{controller}.disable_s3=1", "rule: no suspend to memory, nothing on the host would wake it"),
        Option("-global", f"{controller}.disable_s4=1", "rule: no suspend to disk, it would look like a power-off"),
    ]
    if "pvpanic" in caps.object_types:
        device = json_text({"driver": "pvpanic", "id": "pvpanic"})
        options.append(Option("-device", device, "rule: a guest's panic is seen; [vm] on_panic decides"))
    return options
