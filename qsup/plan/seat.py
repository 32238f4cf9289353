"""The seat of a VM: its memory and its vCPUs, decided together.

Strategy: where guest siblings may, but need not, lie on host siblings there are two ways to go about it, the strict and the
lenient one. Both are tried as far as the second can still be better, and the cheaper seat is taken. The reasons of a refusal
are those of the most lenient way.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from qsup.plan.case import Case, Notes
from qsup.plan.cost import SPLIT
from qsup.plan.cpu import CpuPlan, aligned_topology, plan_vcpus
from qsup.plan.cpu_fit import CpuFit, check_guest_smt, cpu_fits
from qsup.plan.guest_topology import Topology, topology_of
from qsup.plan.layout import Layout
from qsup.plan.memory import plan_memory
from qsup.plan.pins import check_pins


@frozen
class Seat:
    """Where the VM sits: guest topology, memory layout, vCPUs."""

    topology: Topology
    layout: Layout
    cpu: CpuPlan


def seat_of(case: Case, overhead_bytes: int) -> Seat | None:
    """Memory and vCPUs; None with the reasons noted."""
    if not case.host.online:
        case.notes.refuse("plan.no-pcpu", "the host names no online pCPU", hint="report `qsup topology`")
        return None
    topology = topology_of(case)
    if topology is None:
        return None
    check_guest_smt(case, topology)
    if case.spec.cpu.placement == "pinned":
        check_pins(case, topology)
    return _cheapest(case, cpu_fits(case, topology), overhead_bytes)


def _cheapest(case: Case, fits: Sequence[CpuFit], overhead_bytes: int) -> Seat | None:
    """The best seat of all ways to go about it: the last one again, else the cheapest; or the most lenient way's reasons."""
    trials: list[tuple[Seat | None, Notes]] = []
    for fit in fits:
        notes = Notes(brief=case.notes.brief or fit is not fits[-1])
        trial = evolve(case, notes=notes)
        trials.append((_seat_with(trial, evolve(fit, case=trial), overhead_bytes), notes))
        if trials[-1][0] is not None and not _improvable(case, trials[-1][0]):
            break
    seated = [(seat, notes) for seat, notes in trials if seat is not None]
    seat, notes = min(seated, key=lambda trial: _seat_rank(case, trial[0])) if seated else trials[-1]
    case.notes.reasons.extend(notes.reasons)
    case.notes.warnings.extend(notes.warnings)
    return seat


def _seat_rank(case: Case, seat: Seat) -> tuple[bool, int]:
    return (not _is_last(case, seat), seat.layout.cost)


def _improvable(case: Case, seat: Seat) -> bool:
    """Whether more lenience could still bring a better seat: another host node costs more than a split guest core."""
    known = case.record is not None and bool(case.record.vcpu_pins)
    return seat.layout.cost > SPLIT if not known else not _is_last(case, seat)


def _is_last(case: Case, seat: Seat) -> bool:
    return case.record is not None and case.record.vcpu_pins == tuple(vcpu.pin for vcpu in seat.cpu.vcpus)


def _seat_with(case: Case, fit: CpuFit, overhead_bytes: int) -> Seat | None:
    layout = plan_memory(case, fit, overhead_bytes)
    cpu = plan_vcpus(case, fit, layout) if layout is not None else None
    if layout is None or cpu is None:
        return None
    return Seat(aligned_topology(case, fit.topology, layout), layout, cpu)
