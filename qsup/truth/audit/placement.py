"""Who sits where: what the plans of VMs do to each other."""

from __future__ import annotations

from qsup.cpuset import format_cpulist
from qsup.truth.audit.cpu_models import FAST_FLAGS, fast_flags_of
from qsup.truth.audit.facts import AuditFacts, Told
from qsup.truth.audit.rule import UNKNOWN_COST, Answer, Evidence, Found, Irrelevant, Rule, Unknown, not_told

_NO_OWNERS = Irrelevant("no vCPU has a pCPU for itself")
_NO_VMS = Irrelevant("no VM is planned")


def _siblings_shared(facts: AuditFacts) -> Answer:
    if not facts.owned:
        return _NO_OWNERS
    users: dict[int, set[str]] = {}
    for plan in facts.plans:
        for vcpu in plan.vcpus:
            for pcpu in vcpu.pin:
                users.setdefault(pcpu, set()).add(plan.name)
    found: dict[tuple[str, str], set[int]] = {}
    for pcpu, owner in facts.owners.items():
        for sibling in facts.host.index.siblings({pcpu}) - {pcpu} if pcpu in facts.host.index.online else ():
            for other in users.get(sibling, set()) - {owner}:
                found.setdefault((owner, other), set()).update({pcpu, sibling})
    pairs = {pair: pcpus for pair, pcpus in found.items() if (pair[1], pair[0]) not in found or pair[0] < pair[1]}
    return tuple(
        Found(
            owner,
            f"{owner} and {other} share cores: pCPUs {format_cpulist(pcpus)} are siblings",
            tuple(Evidence(f"{name}: plan", f"vCPUs on {_pins_text(facts, name)}") for name in (owner, other)),
            {"vm": owner},
        )
        for (owner, other), pcpus in sorted(pairs.items())
    )


def _pins_text(facts: AuditFacts, name: str) -> str:
    plan = next(plan for plan in facts.plans if plan.name == name)
    return format_cpulist(frozenset[int]().union(*(vcpu.pin for vcpu in plan.vcpus)))


def _emulator(facts: AuditFacts) -> Answer:
    return _on_owned(facts, lambda plan: [("emulator", plan.emulator)], "its worker threads and its main loop", "emulator")


def _iothread(facts: AuditFacts) -> Answer:
    return _on_owned(facts, lambda plan: [(one.iothread_id, one.pin) for one in plan.iothreads], "disk requests", "iothreads")


def _vhost(facts: AuditFacts) -> Answer:
    return _on_owned(facts, lambda plan: [(nic.nic_id, nic.worker_pin) for nic in plan.nics if nic.vhost], "packets", "vhost")


def _on_owned(facts: AuditFacts, seats_of: object, work: str, key: str) -> Answer:
    owners = facts.owners
    if not owners:
        return _NO_OWNERS
    found = []
    for plan in facts.plans:
        for name, pin in seats_of(plan):  # type: ignore[operator]
            met = pin & owners.keys()
            if met:
                guests = ", ".join(sorted({owners[pcpu] for pcpu in met}))
                what = f"{name} of {plan.name} ({work}) may run on pCPUs {format_cpulist(met)}, which vCPUs of {guests} own"
                evidence = (Evidence(f"{plan.name}: plan, {name}", format_cpulist(pin)),)
                found.append(Found(plan.name, what, evidence, {"key": key}))
    return tuple(found)


def _model(facts: AuditFacts) -> Answer:
    plans = [plan for plan in facts.plans if plan.accel == "kvm"]
    if not plans:
        return Irrelevant("no VM uses KVM") if facts.plans else _NO_VMS
    flags = facts.processor.flags
    if flags is None:
        return not_told(Told("/proc/cpuinfo"))
    found, unknown = [], []
    for plan in plans:
        seen = fast_flags_of(plan.cpu_model, flags)
        if seen is None:
            unknown.append(plan.cpu_model)
        elif hidden := [flag for flag in FAST_FLAGS if flag in flags - seen]:
            what = f"the guest of {plan.name} does not see what the host has: {', '.join(hidden)}"
            found.append(Found(plan.name, what, (Evidence(f"{plan.name}: cpu.model", plan.cpu_model),)))
    if unknown and not found:
        return Unknown(f"what the CPU model {unknown[0]} has is not known here")
    return tuple(found)


RULES = (
    Rule(
        "placement.siblings-shared",
        "SMT siblings of an owned pCPU belong to another VM",
        "medium",
        "Siblings share one core's units and caches: a busy neighbour takes a part of what the plan calls owned.",
        UNKNOWN_COST,
        "# in {vm}'s file: [cpu] threads = 2 (its own vCPUs become siblings) or placement = 'isolated'; then qsup restart {vm}",
        ("the VMs' plans", "/sys/devices/system/cpu/cpuN/topology/core_cpus_list"),
        _siblings_shared,
    ),
    Rule(
        "placement.emulator-on-vcpus",
        "QEMU's main loop and workers run on pCPUs that vCPUs own",
        "medium",
        "A vCPU waits while QEMU's other threads run on its pCPU; under load each of their bursts is a pause of the guest.",
        UNKNOWN_COST,
        "# keep pCPUs free: [place] housekeeping in settings.toml, or [cpu] emulator = 'own' in the VM's file; then restart",
        ("the VMs' plans",),
        _emulator,
    ),
    Rule(
        "placement.iothread-on-vcpus",
        "iothreads run on pCPUs that vCPUs own",
        "medium",
        "A vCPU waits while the iothread works for it or for another VM, and the disk waits while the vCPU runs.",
        UNKNOWN_COST,
        "# keep pCPUs free for them: [place] housekeeping in settings.toml; then restart the VM",
        ("the VMs' plans",),
        _iothread,
    ),
    Rule(
        "placement.vhost-on-vcpus",
        "vhost workers run on pCPUs that vCPUs own",
        "medium",
        "A vCPU waits while a vhost worker moves packets on its pCPU.",
        UNKNOWN_COST,
        "# keep pCPUs free for them: [place] housekeeping in settings.toml; then restart the VM",
        ("the VMs' plans",),
        _vhost,
    ),
    Rule(
        "placement.model-hides-features",
        "a CPU model that hides what the host has",
        "medium",
        "Programs in the guest take their slow paths: no AES and no wide vectors for TLS, compression, checksums.",
        UNKNOWN_COST,
        '# [cpu] model = "host" in the VM\'s file (or a named model of this processor, to be able to migrate); then restart',
        ("the VMs' plans", "/proc/cpuinfo"),
        _model,
    ),
)
