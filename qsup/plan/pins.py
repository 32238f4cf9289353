"""Explicit pins: taken as written, after what would break silently is refused and what is unwise is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qsup.cpuset import format_cpulist
from qsup.plan.case import Case
from qsup.plan.guest_topology import Topology
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.wording import names_text, pcpus_text


def check_pins(case: Case, topology: Topology) -> None:
    """Note what is wrong with the pins of each vCPU, and what is merely unwise about all of them."""
    pins = case.spec.cpu.pin or ()
    if len(pins) != topology.vcpus:
        case.notes.refuse(
            "plan.pin-count",
            f"{len(pins)} pins for {topology.vcpus} vCPUs",
            needed=f"{topology.vcpus} pins",
            available=f"{len(pins)} pins",
            hint="write one cpulist per vCPU",
        )
    for vcpu_index, pin in enumerate(pins):
        check_written_set(case, pin, f"vCPU {vcpu_index}", "plan.pin")
    _warn_of_own_overlap(case, pins)
    _warn_of_other_pins(case, pins)
    _warn_of_housekeeping(case, pins)


def check_written_set(case: Case, pcpus: frozenset[int], who: str, prefix: str) -> None:
    """Note pCPUs that are absent, offline or somebody's own, and sets that would float over isolated pCPUs."""
    host = case.host
    if not pcpus:
        case.notes.refuse(f"{prefix}-empty", f"{who} may run on no pCPU", hint="name at least one pCPU")
    absent = pcpus - host.by_pcpu.keys()
    offline = (pcpus - absent) - host.online
    _refuse_set(case, absent, f"{prefix}-absent", f"{who} is pinned to pCPUs that this host does not have")
    _refuse_set(case, offline, f"{prefix}-offline", f"{who} is pinned to offline pCPUs")
    _check_floating(case, pcpus, who, prefix)
    owned = pcpus & case.others.exclusive.keys()
    if owned:
        holders = sorted({name for pcpu in owned for name in case.others.exclusive[pcpu]})
        case.notes.refuse(
            f"{prefix}-dedicated",
            f"{who} is pinned to {pcpus_text(owned)}, dedicated to {names_text(holders)}",
            needed=pcpus_text(pcpus),
            available=pcpus_text(pcpus - owned),
            held_by=tuple((name, pcpus_text(_owned_by(case, name, owned))) for name in holders),
            hint=f"pin it to other pCPUs, or stop {names_text(holders)}",
        )


def _refuse_set(case: Case, wrong: frozenset[int], code: str, message: str) -> None:
    if wrong:
        case.notes.refuse(
            code,
            f"{message}: {format_cpulist(wrong)}",
            needed=f"{pcpus_text(wrong)} online",
            available=pcpus_text(case.host.online),
            hint="name online pCPUs; `qsup topology` shows them",
        )


def _check_floating(case: Case, pcpus: frozenset[int], who: str, prefix: str) -> None:
    isolated = pcpus & case.host.isolated
    if isolated and len(pcpus) > 1:
        case.notes.refuse(
            f"{prefix}-floats-on-isolated",
            f"{who} would float over {pcpus_text(pcpus)}, and the kernel balances no load over isolated ones "
            f"({format_cpulist(isolated)}): it would stay on one of them",
            needed="a single pCPU, or pCPUs that are not isolated",
            available=f"{pcpus_text((pcpus & case.host.online) - isolated)} of these",
            hint="pin it to one isolated pCPU, or to several that are not isolated",
        )


def _owned_by(case: Case, name: str, pcpus: Iterable[int]) -> list[int]:
    return [pcpu for pcpu in pcpus if name in case.others.exclusive[pcpu]]


def _warn_of_own_overlap(case: Case, pins: Sequence[frozenset[int]]) -> None:
    seen: set[int] = set()
    twice: set[int] = set()
    for pin in pins:
        twice |= seen & pin
        seen |= pin
    if twice:
        case.notes.warn(
            "plan.pin-overlaps-itself",
            f"several vCPUs of this VM are pinned to {pcpus_text(twice)}: they will wait for one another",
            hint="give each vCPU a pCPU of its own",
            key="cpu.pin",
        )


def _warn_of_other_pins(case: Case, pins: Sequence[frozenset[int]]) -> None:
    shared = frozenset().union(*pins) & case.others.pinned.keys()
    if shared:
        names = sorted({name for pcpu in shared for name in case.others.pinned[pcpu]})
        case.notes.warn(
            "plan.pin-overlaps-vm",
            f"pins of this VM and of {names_text(names)} meet on {pcpus_text(shared)}: their vCPUs will wait for one another",
            hint="pin to pCPUs that no other VM is pinned to",
            key="cpu.pin",
        )


def _warn_of_housekeeping(case: Case, pins: Sequence[frozenset[int]]) -> None:
    both = frozenset().union(*pins) & fixed_housekeeping(case.host, case.policy)
    if both:
        case.notes.warn(
            "plan.pin-on-housekeeping",
            f"pins of this VM lie on housekeeping ({pcpus_text(both)}): the vCPUs there share them with QEMU's other threads",
            hint="pin to pCPUs outside housekeeping, or set place.housekeeping",
            key="cpu.pin",
        )
