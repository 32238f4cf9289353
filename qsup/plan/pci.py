"""PCI slots on the root bus, stable by what a device is, not by its position in the file."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.plan.case import Case

_FIRST_SLOT = 3  # 0 is the host bridge, 1 and 2 are the chipset's (pc: PIIX, VGA)
_LAST_SLOT = 29  # 30 is virtio-rng's (VmPlan.rng_pci_slot); q35 has its ISA bridge and SATA at 31


def device_identities(case: Case) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Identities of disks and of nics, in the file's order: "disk:PATH" (a path's second: "disk:PATH#1"), "nic:POSITION"."""
    seen: dict[str, int] = {}
    disks = []
    for disk in case.spec.disks:
        count = seen.get(disk.path, 0)
        seen[disk.path] = count + 1
        disks.append(f"disk:{disk.path}" + (f"#{count}" if count else ""))
    return tuple(disks), tuple(f"nic:{position}" for position in range(len(case.spec.nics)))


def plan_pci_slots(case: Case, identities: Sequence[str]) -> dict[str, int]:
    """A slot for each identity: the recorded one, else the lowest free; too many devices are noted (and get slot 0)."""
    recorded = case.record.pci_slots if case.record else {}
    slots: dict[str, int] = {}
    used: set[int] = set()
    for identity in identities:
        slot = recorded.get(identity, 0)
        if _FIRST_SLOT <= slot <= _LAST_SLOT and slot not in used:
            slots[identity] = slot
            used.add(slot)
    free = [slot for slot in range(_FIRST_SLOT, _LAST_SLOT + 1) if slot not in used]
    newcomers = [identity for identity in identities if identity not in slots]
    if len(newcomers) > len(free):
        case.notes.refuse(
            "plan.pci-slots-exhausted",
            f"{len(identities)} disks and nics do not fit on the PCI bus: it has {_LAST_SLOT - _FIRST_SLOT + 1} slots for them",
            needed=f"{len(identities)} slots",
            available=f"{_LAST_SLOT - _FIRST_SLOT + 1} slots",
            hint=f"remove {len(newcomers) - len(free)} of the disks and nics",
        )
    slots.update(zip(newcomers, free, strict=False))
    return {identity: slots.get(identity, 0) for identity in identities}
