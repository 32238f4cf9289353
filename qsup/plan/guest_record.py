"""GuestRecord: the guest-visible hardware that was recorded at the first start and must stay the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from qsup.plan.vmplan import VmPlan


@frozen
class GuestRecord:
    """What a guest has seen of its hardware.

    `pci_slots` maps a device identity ("disk:PATH", "nic:POSITION") to its slot; `macs` maps "nic:POSITION" to its address.
    `vcpu_pins` and `host_nodes` are the last placement (position = vcpu_index / guest node), a wish for the next one.
    """

    uuid: str
    machine: str
    cpu_model: str
    pci_slots: Mapping[str, int] = field(factory=dict)
    macs: Mapping[str, str] = field(factory=dict)
    uid: int | None = None
    vcpu_pins: tuple[frozenset[int], ...] = ()
    host_nodes: tuple[tuple[int, ...], ...] = ()


def guest_record_of(plan: VmPlan) -> GuestRecord:
    """What to record of a plan that was launched."""
    return GuestRecord(
        uuid=plan.uuid,
        machine=plan.machine,
        cpu_model=plan.cpu_model,
        pci_slots=_slots_of(plan),
        macs={f"nic:{position}": nic.mac for position, nic in enumerate(plan.nics)},
        uid=plan.uid,
        vcpu_pins=tuple(vcpu.pin for vcpu in plan.vcpus),
        host_nodes=tuple(node.host_nodes for node in plan.guest_nodes),
    )


def hardware_changes(record: GuestRecord, plan: VmPlan) -> tuple[str, ...]:
    """Sentences, each naming one thing that the guest will see changed since its record; empty where nothing is."""
    planned = guest_record_of(plan)
    return (
        *_changed("The machine's uuid", record.uuid, planned.uuid),
        *_changed("The machine type", record.machine, planned.machine),
        *_changed("The CPU model", record.cpu_model, planned.cpu_model),
        *_changed("The number of vCPUs", _count(record.vcpu_pins), _count(planned.vcpu_pins)),
        *_changed("The number of guest NUMA nodes", _count(record.host_nodes), _count(planned.host_nodes)),
        *_table_changes("PCI slot", record.pci_slots, planned.pci_slots),
        *_table_changes("MAC address", record.macs, planned.macs),
    )


def _slots_of(plan: VmPlan) -> dict[str, int]:
    slots: dict[str, int] = {}
    seen: dict[str, int] = {}
    for disk in plan.disks:
        path = disk.chain[0].path
        count = seen.get(path, 0)
        seen[path] = count + 1
        slots[f"disk:{path}" + (f"#{count}" if count else "")] = disk.pci_slot
    slots.update({f"nic:{position}": nic.pci_slot for position, nic in enumerate(plan.nics)})
    return slots


def _count(things: tuple[object, ...]) -> str:
    return str(len(things)) if things else ""


def _changed(what: str, old: str, new: str) -> Iterable[str]:
    if old and old != new:
        yield f"{what} was {old} and will be {new}."


def _table_changes(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterable[str]:
    before = {identity: str(value) for identity, value in old.items()}
    after = {identity: str(value) for identity, value in new.items()}
    for identity in sorted({*before, *after}):
        if identity not in after:
            yield f"The device {identity} ({what} {before[identity]}) is gone."
        elif identity not in before:
            yield f"The device {identity} ({what} {after[identity]}) is new."
        elif before[identity] != after[identity]:
            yield f"The {what} of {identity} was {before[identity]} and will be {after[identity]}."
