"""GuestRecord: the guest-visible hardware that was recorded at the first start and must stay the same."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


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
