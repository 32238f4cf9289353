"""Other agents of the host: who moves threads, memory or clocks under qsup's hands."""

from __future__ import annotations

from qsup.truth.audit.facts import AuditFacts
from qsup.truth.audit.rule import HOST, UNKNOWN_COST, Answer, Evidence, Found, Irrelevant, Rule
from qsup.truth.tuned import QEMU

THREADS = (
    (QEMU, QEMU, QEMU),
    ("CPU 0/KVM", QEMU, "CPU N/KVM"),
    ("IO io-disk0", QEMU, "IO …"),
    ("vhost-1234", QEMU, "vhost-PID"),
    ("kvm-pit/1234", "kvm-pit/1234", "kvm-pit/PID"),
)
"""(name of a thread, name of its process, how it is shown)."""
_SAVING_PROFILES = frozenset({"powersave", "balanced", "balanced-battery", "laptop-battery-powersave", "laptop-ac-powersave",
                              "desktop", "spindown-disk", "server-powersave"})  # fmt: skip
_NO_VMS = Irrelevant("no VM is planned")


def _tuned_moves(facts: AuditFacts) -> Answer:
    agents = facts.agents
    if "tuned" not in agents.running:
        return Irrelevant("tuned does not run")
    if not facts.vms:
        return _NO_VMS
    moved = [shown for thread, process, shown in THREADS if agents.tuned.moves(thread, process)]
    if not moved:
        return ()
    what = f"tuned's profile {agents.tuned_profile} moves threads called {', '.join(moved)}"
    value = ";".join(agents.tuned.spares) or "(no ps_blacklist)"
    return (Found(HOST, what, (Evidence(f"tuned: {agents.tuned_profile}, [scheduler] ps_blacklist", value),)),)


def _tuned_saves(facts: AuditFacts) -> Answer:
    agents = facts.agents
    if "tuned" not in agents.running or agents.tuned_profile is None:
        return Irrelevant("tuned does not run, or has no profile")
    saving = sorted(_SAVING_PROFILES & set(agents.tuned_profile.split()))
    if not saving:
        return ()
    what = f"tuned's profile is {agents.tuned_profile}, which is not made for a host of VMs"
    return (Found(HOST, what, (Evidence("/etc/tuned/active_profile", agents.tuned_profile),)),)


def _numad(facts: AuditFacts) -> Answer:
    if "numad" not in facts.agents.running:
        return ()
    bound = [plan.name for plan in facts.plans if any(node.host_nodes for node in plan.guest_nodes)]
    if not bound:
        return Irrelevant("no VM's memory is bound to nodes")
    what = f"numad binds processes to nodes as it sees fit, {', '.join(bound[:4])} among them"
    return (Found(HOST, what, (Evidence("/proc/*/comm", "numad"),)),)


def _ksmtuned(facts: AuditFacts) -> Answer:
    if "ksmtuned" not in facts.agents.running:
        return ()
    if not facts.vms:
        return _NO_VMS
    what = "ksmtuned switches KSM on when memory runs low, and qsup's VMs take no part in merging"
    return (Found(HOST, what, (Evidence("/proc/*/comm", "ksmtuned"),)),)


RULES = (
    Rule(
        "agents.tuned-moves-qemu",
        "tuned moves QEMU's threads",
        "high",
        "Each time the profile is applied it takes threads off isolated pCPUs; qsup puts them back, and a fight may follow.",
        UNKNOWN_COST,
        "# in the profile, [scheduler]: ps_blacklist=.*qemu.*;CPU .*KVM;IO .*;vhost-.*;kvm-.*   then tuned-adm profile PROFILE",
        ("/etc/tuned/active_profile", "the profile's tuned.conf"),
        _tuned_moves,
    ),
    Rule(
        "agents.tuned-saves-power",
        "tuned's profile saves power",
        "low",
        "It sets governor, energy preference and disks for a desktop or a battery.",
        UNKNOWN_COST,
        "tuned-adm profile virtual-host",
        ("/etc/tuned/active_profile",),
        _tuned_saves,
    ),
    Rule(
        "agents.numad",
        "numad works on VMs that are bound to nodes",
        "medium",
        "It writes cpusets and moves pages of processes whose place is decided: pins are refused, pages copied.",
        UNKNOWN_COST,
        "systemctl disable --now numad",
        ("/proc/*/comm",),
        _numad,
    ),
    Rule(
        "agents.ksmtuned",
        "ksmtuned runs",
        "low",
        "It only burns time here: qsup starts QEMU with mem-merge=off.",
        UNKNOWN_COST,
        "systemctl disable --now ksmtuned",
        ("/proc/*/comm",),
        _ksmtuned,
    ),
)
