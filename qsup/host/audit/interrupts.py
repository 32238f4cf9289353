"""Interrupts, where they may go and where they went; kworkers; what irqbalance keeps its hands off.

Source: Documentation/core-api/irq/irq-affinity.rst, Documentation/core-api/workqueue.rst, man 1 irqbalance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from qsup.cpuset import parse_cpulist
from qsup.host.audit.settings import bits_of, read_bitmap
from qsup.host.sysfs import number_of, read_cpulist, read_text
from qsup.truth.audit.facts import Irq, IrqFacts

_SETTINGS = ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance")
_BANNED = re.compile(r'^\s*(?:export\s+)?IRQBALANCE_BANNED_(CPULIST|CPUS)\s*=\s*"?([0-9a-fA-F,:-]*)"?\s*$', re.MULTILINE)


def read_interrupts(root: str) -> IrqFacts:
    """Touches: /proc/interrupts, /proc/irq, /sys/devices/virtual/workqueue/cpumask, irqbalance's settings."""
    text = read_text(root, "/proc/interrupts")
    file, banned = _banned(root)
    return IrqFacts(
        irqs=None if text is None else tuple(_irqs(root, text)),
        default_affinity=read_bitmap(root, "/proc/irq/default_smp_affinity"),
        workqueue=read_bitmap(root, "/sys/devices/virtual/workqueue/cpumask"),
        banned=banned,
        banned_file=file,
    )


def _irqs(root: str, text: str) -> Iterator[Irq]:
    head, _, body = text.partition("\n")
    pcpus = [number_of(word[3:]) for word in head.split() if word.startswith("CPU")]
    for line in body.splitlines():
        label, _, rest = line.partition(":")
        number, words = number_of(label), rest.split()
        if number is None or len(words) < len(pcpus):
            continue
        pairs = zip(pcpus, map(number_of, words[: len(pcpus)]), strict=True)
        counts = {pcpu: count for pcpu, count in pairs if pcpu is not None and count}
        described = words[len(pcpus) :]
        name = " ".join(described[2:]) or " ".join(described) or f"interrupt {number}"
        file, affinity = _affinity(root, number)
        yield Irq(number, name, affinity, counts, file)


def _affinity(root: str, number: int) -> tuple[str, frozenset[int]]:
    """Where it really goes; where the kernel does not tell that, where it may go."""
    for name in ("effective_affinity_list", "smp_affinity_list"):
        file = f"/proc/irq/{number}/{name}"
        pcpus = read_cpulist(root, file)
        if pcpus:
            return file, pcpus
    return f"/proc/irq/{number}/smp_affinity_list", frozenset()


def _banned(root: str) -> tuple[str, frozenset[int] | None]:
    """The settings file that there is, and the pCPUs that it bans."""
    for file in _SETTINGS:
        text = read_text(root, file)
        if text is not None:
            return file, _banned_in(text)
    return "", None


def _banned_in(text: str) -> frozenset[int] | None:
    banned = None
    for kind, value in _BANNED.findall(text):
        try:
            banned = parse_cpulist(value) if kind == "CPULIST" else bits_of(value)
        except ValueError:
            continue
    return banned
