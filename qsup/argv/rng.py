"""A source of randomness: without one, a guest's first boot waits for entropy."""

from __future__ import annotations

from qsup.argv.board import pci_address, pci_bus_of
from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import json_text
from qsup.plan.vmplan import VmPlan

RNG_TYPES = frozenset({"rng-builtin", "virtio-rng-pci"})


def options_of_rng(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """virtio-rng on QEMU's builtin source (getrandom, no file), in the slot that the plan keeps for it."""
    if RNG_TYPES - caps.object_types:
        return []
    device = json_text(
        {
            "driver": "virtio-rng-pci",
            "id": "rng",
            "rng": "rng-source",
            "bus": pci_bus_of(plan.machine),
            "addr": pci_address(plan.rng_pci_slot),
        }
    )
    why = "rule: every guest has a source of randomness"
    return [
        Option("-object", json_text({"qom-type": "rng-builtin", "id": "rng-source"}), why),
        Option("-device", device, f"{why}, in a slot of its own"),
    ]
