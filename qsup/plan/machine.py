"""[machine] planned: the accelerator, the versioned machine type, the CPU model."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from qsup.plan.case import Case

AMD = "AuthenticAMD"
_FAMILY_OF_ALIAS = {"q35": "pc-q35", "pc": "pc-i440fx"}


@frozen
class MachinePlan:
    """Board, accelerator and CPU model, all decided."""

    machine: str
    accel: Literal["kvm", "tcg"]
    cpu_model: str


def plan_machine(case: Case) -> MachinePlan:
    """The machine; an unknown type or an accelerator that is not there is noted."""
    accel = _accel(case)
    return MachinePlan(_machine(case), accel, _cpu_model(case, accel))


def _cpu_model(case: Case, accel: Literal["kvm", "tcg"]) -> str:
    """As asked; else what the accelerator has to offer.

    QEMU leaves topoext off even with "host" (target/i386/cpu.c, up to 10.0): without it an AMD guest takes each thread for a
    core. A model that is asked for with features of its own is left as it is.
    """
    model = case.spec.cpu.model or ("host" if accel == "kvm" else "max")
    if accel == "kvm" and model == "host" and case.spec.cpu.threads > 1 and case.facts.cpu_vendor == AMD:
        return "host,topoext=on"
    return model


def _accel(case: Case) -> Literal["kvm", "tcg"]:
    asked, problem = case.spec.machine.accel, case.facts.kvm_problem
    if asked == "tcg":
        return "tcg"
    if problem is None:
        return "kvm"
    if asked == "kvm":
        case.notes.refuse(
            "plan.kvm-unavailable",
            f"KVM cannot be used: {problem}",
            hint='mend that, or set machine.accel = "tcg" to have the guest emulated, many times slower',
        )
        return "kvm"
    case.notes.warn(
        "plan.emulated",
        f"the guest's code is emulated (TCG), many times slower than KVM: {problem}",
        hint='make /dev/kvm usable, or set machine.accel = "tcg" if this is meant',
        key="machine.accel",
    )
    return "tcg"


def _machine(case: Case) -> str:
    asked, aliases = case.spec.machine.type, case.machine_aliases
    newest = aliases.get(asked, asked)
    is_alias = asked != newest or asked in _FAMILY_OF_ALIAS
    family = _family(newest) if asked != newest else _FAMILY_OF_ALIAS.get(asked)
    if case.record is not None and is_alias and _family(case.record.machine) == family:
        newest = case.record.machine
    if aliases and not _known(case, newest):
        case.notes.refuse(
            "plan.machine-unknown",
            f"QEMU knows no machine type {newest}",
            needed=newest,
            available=", ".join(sorted({*aliases, *aliases.values()})),
            hint="set machine.type to one that is available",
        )
    return newest


def _known(case: Case, machine: str) -> bool:
    """Whether QEMU has the type; of older versions only the family is known unless every type is listed for itself."""
    aliases = case.machine_aliases
    if machine in aliases.values():
        return True
    if any(alias == target for alias, target in aliases.items()):
        return False
    return _family(machine) in {_family(target) for target in aliases.values()} and machine != _family(machine)


def _family(machine: str) -> str:
    """ "pc-q35" of "pc-q35-7.2"; the name itself where it carries no version."""
    family, dash, version = machine.rpartition("-")
    return family if dash and version[:1].isdigit() else machine
