"""How a refusal or a warning words sets of pCPUs and lists of VMs: short, whatever their number."""

from __future__ import annotations

from collections.abc import Collection

from qsup.bytesize import MIB, format_byte_size
from qsup.cpuset import format_cpulist

_SHOWN_NAMES = 3


def names_text(names: Collection[str]) -> str:
    """The names, ascending; of more than four the first three: "vm0, vm1, vm2 and 14 more"."""
    ordered = sorted(names)
    rest = len(ordered) - _SHOWN_NAMES
    if rest <= 1:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:_SHOWN_NAMES])} and {rest} more"


def pcpus_text(pcpus: Collection[int]) -> str:
    """ "pCPU 2", "pCPUs 2,34", "no pCPU"."""
    if not pcpus:
        return "no pCPU"
    return f"pCPU{'s' if len(pcpus) > 1 else ''} {format_cpulist(pcpus)}"


def needed_text(size_bytes: int) -> str:
    """An amount that is needed, in whole MiB, rounded up."""
    return format_byte_size(-(-size_bytes // MIB) * MIB)


def left_text(size_bytes: int) -> str:
    """An amount that is left, in whole MiB, rounded down; never below zero."""
    return format_byte_size(max(0, size_bytes) // MIB * MIB)
