"""The two families of boards: which PCI bus devices sit on, and which power controller they have.

Source: QEMU 7.2, hw/i386/pc_q35.c (root bus `pcie.0`, ICH9) and hw/i386/pc_piix.c (root bus `pci.0`, PIIX4).
"""

from __future__ import annotations


def is_q35(machine: str) -> bool:
    """Whether the machine is of the q35 family (pc-q35-7.2); else it is of the i440FX family."""
    return "q35" in machine


def pci_bus_of(machine: str) -> str:
    """The name of the board's root PCI bus."""
    return "pcie.0" if is_q35(machine) else "pci.0"


def power_controller_of(machine: str) -> str:
    """The device that owns ACPI sleep states."""
    return "ICH9-LPC" if is_q35(machine) else "PIIX4_PM"


def pci_address(slot: int) -> str:
    """A slot as the `addr` property takes it."""
    return f"{slot:#x}"
