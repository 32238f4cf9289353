"""Interrupts and kworkers: whatever of the kernel runs on pCPUs that vCPUs own."""

from __future__ import annotations

import re

from qsup.cpuset import format_cpulist
from qsup.truth.audit.facts import AuditFacts, Irq
from qsup.truth.audit.rule import HOST, UNKNOWN_COST, Answer, Evidence, Found, Irrelevant, Rule, Unknown

_NO_OWNERS = Irrelevant("no vCPU has a pCPU for itself")
_DEFAULT = "/proc/irq/default_smp_affinity"
_WORKQUEUE = "/sys/devices/virtual/workqueue/cpumask"
_SHOWN = 8
_MANAGED = re.compile(r"nvme[0-9]+q[1-9][0-9]*|virtio[0-9]+-req(?:uest)?\.[0-9]+", re.ASCII)


def _on_owned(facts: AuditFacts) -> Answer:
    owned = facts.owned
    if not owned:
        return _NO_OWNERS
    if facts.interrupts.irqs is None:
        return Unknown("cannot be read: /proc/interrupts")
    noisy = [irq for irq in facts.interrupts.irqs if irq.affinity & owned and _count_on(irq, owned) and not _is_managed(irq)]
    if not noisy:
        return ()
    noisy.sort(key=lambda irq: (-_count_on(irq, owned), irq.number))
    hit = format_cpulist({pcpu for irq in noisy for pcpu in irq.affinity & owned})
    what = f"{_count_text(len(noisy))} to pCPUs {hit}, which vCPUs own; most often {noisy[0].name}"
    evidence = tuple(Evidence(irq.file, f"{format_cpulist(irq.affinity)} ({irq.name})") for irq in noisy[:_SHOWN])
    fill = {"irqs": " ".join(str(irq.number) for irq in noisy), "pcpus": format_cpulist(facts.spare) or "LIST"}
    return (Found(HOST, what, evidence, fill),)


def _is_managed(irq: Irq) -> bool:
    """A disk's queue of one pCPU: it comes there only for what is submitted there, and the kernel lets nobody move it."""
    return _MANAGED.fullmatch(irq.name) is not None


def _count_text(count: int) -> str:
    return "1 interrupt comes" if count == 1 else f"{count} interrupts come"


def _count_on(irq: Irq, pcpus: frozenset[int]) -> int:
    return sum(irq.counts.get(pcpu, 0) for pcpu in pcpus)


def _default(facts: AuditFacts) -> Answer:
    return _mask_over_owned(facts, facts.interrupts.default_affinity, _DEFAULT, "new interrupts may be sent to")


def _kworkers(facts: AuditFacts) -> Answer:
    return _mask_over_owned(facts, facts.interrupts.workqueue, _WORKQUEUE, "unbound kworkers may run on")


def _mask_over_owned(facts: AuditFacts, mask: frozenset[int] | None, file: str, words: str) -> Answer:
    owned = facts.owned
    if not owned:
        return _NO_OWNERS
    if mask is None:
        return Unknown(f"cannot be read: {file}")
    met = mask & owned
    rest = facts.host.index.online - owned
    if not met or not rest:
        return ()
    what = f"{words} pCPUs {format_cpulist(met)}, which vCPUs own"
    hexes = hex_mask(rest)
    return (
        Found(
            HOST,
            what,
            (Evidence(file, format_cpulist(mask)),),
            {"mask": hexes, "pcpus": format_cpulist(facts.spare) or format_cpulist(rest)},
        ),
    )


def hex_mask(pcpus: frozenset[int]) -> str:
    """The kernel's bitmap notation: words of 32 bits, the highest first, with commas between."""
    number = sum(1 << pcpu for pcpu in pcpus)
    words: list[int] = []
    while number or not words:
        words.append(number & 0xFFFFFFFF)
        number >>= 32
    first, *rest = reversed(words)
    return ",".join([f"{first:x}", *(f"{word:08x}" for word in rest)])


def _balancer(facts: AuditFacts) -> Answer:
    owned = facts.owned
    if not owned:
        return _NO_OWNERS
    if "irqbalance" not in facts.agents.running:
        return Irrelevant("irqbalance does not run")
    quiet = frozenset(pcpu.pcpu for pcpu in facts.host.pcpus if pcpu.isolated or pcpu.nohz_full)
    banned = facts.interrupts.banned
    open_ones = owned - (banned if banned is not None else quiet)
    if not open_ones:
        return ()
    file = facts.interrupts.banned_file or "/etc/default/irqbalance"
    value = f"IRQBALANCE_BANNED_CPULIST={format_cpulist(banned)}" if banned is not None else "no IRQBALANCE_BANNED_CPULIST"
    what = f"irqbalance runs and may send interrupts to pCPUs {format_cpulist(open_ones)}, which vCPUs own"
    return (Found(HOST, what, (Evidence(file, value),), {"pcpus": format_cpulist(owned | quiet), "file": file}),)


RULES = (
    Rule(
        "irq.on-owned-pcpus",
        "interrupts come to pCPUs that vCPUs own",
        "medium",
        "Each interrupt stops the guest, and its softirq runs on in the vCPU's time.",
        UNKNOWN_COST,
        "for n in {irqs}; do echo {pcpus} > /proc/irq/$n/smp_affinity_list; done   # EIO: the driver manages it by itself",
        ("/proc/interrupts", "/proc/irq/N/effective_affinity_list"),
        _on_owned,
        "irqaffinity={pcpus} on the kernel command line",
    ),
    Rule(
        "irq.default-affinity",
        "new interrupts may come to pCPUs that vCPUs own",
        "low",
        "A driver that is loaded or a NIC that is brought up later puts its interrupts on them.",
        UNKNOWN_COST,
        "echo {mask} > /proc/irq/default_smp_affinity",
        (_DEFAULT,),
        _default,
        "irqaffinity={pcpus} on the kernel command line",
    ),
    Rule(
        "irq.kworkers",
        "unbound kworkers may run on pCPUs that vCPUs own",
        "low",
        "Writeback, crypto and file systems do their deferred work in them, in the vCPU's time.",
        UNKNOWN_COST,
        "echo {mask} > /sys/devices/virtual/workqueue/cpumask",
        (_WORKQUEUE,),
        _kworkers,
        "a unit that runs the command at boot",
    ),
    Rule(
        "irq.irqbalance",
        "irqbalance is not kept off pCPUs that vCPUs own",
        "medium",
        "It moves interrupts every 10 s to where it finds room: an idle vCPU's pCPU looks like room.",
        UNKNOWN_COST,
        "echo IRQBALANCE_BANNED_CPULIST={pcpus} >> {file} && systemctl restart irqbalance",
        ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance"),
        _balancer,
    ),
)
