"""The pins of everything that is not a vCPU: emulator, iothreads, vhost workers."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.housekeeping import housekeeping_of, near
from qsup.plan.pins import check_written_set
from qsup.plan.wording import pcpus_text


@frozen
class SupportPlan:
    """`emulator` is the process' pin, `near_memory` that of iothreads and vhost workers; neither is empty."""

    emulator: frozenset[int]
    near_memory: frozenset[int]


def plan_support(
    case: Case, nodes: Iterable[int], vcpu_pcpus: frozenset[int], own_exclusive: frozenset[int]
) -> SupportPlan:
    """Sets for QEMU's other threads, with `nodes` those of the memory and `own_exclusive` what this VM takes for itself."""
    exclusive = own_exclusive | case.others.exclusive.keys()
    chosen = housekeeping_of(case.host, case.policy, exclusive)
    _warn_of_last_resort(case, chosen & exclusive)
    _warn_of_policy(case)
    asked = case.spec.cpu.emulator
    if asked is not None:
        _check_asked(case, asked, vcpu_pcpus)
    return SupportPlan(chosen if asked is None else asked, near(case.host, chosen, nodes))


def _check_asked(case: Case, asked: frozenset[int], vcpu_pcpus: frozenset[int]) -> None:
    check_written_set(case, asked, "the emulator", "plan.emulator")
    both = asked & vcpu_pcpus
    if both and case.spec.cpu.placement != "shared":
        case.notes.warn(
            "plan.emulator-on-vcpus",
            f"the emulator shares {pcpus_text(both)} with vCPUs of this VM: they will wait for it",
            hint="name other pCPUs, or leave cpu.emulator out: then it runs on housekeeping pCPUs",
            key="cpu.emulator",
        )


def _warn_of_last_resort(case: Case, shared: frozenset[int]) -> None:
    if shared:
        case.notes.warn(
            "plan.no-housekeeping-left",
            f"dedicated VMs own every pCPU: QEMU's other threads run on {pcpus_text(shared)} all the same",
            hint="give the dedicated VMs one pCPU less",
            key="cpu.placement",
        )


def _warn_of_policy(case: Case) -> None:
    absent = (case.policy.housekeeping or frozenset()) - case.host.online
    if absent:
        case.notes.warn(
            "plan.housekeeping-offline",
            f"place.housekeeping names {pcpus_text(absent)}, not online here",
            hint="correct place.housekeeping in the settings",
        )
