"""Who ran on a pCPU while a thread waited there.

Strategy: each pCPU has a ledger over the span: its threads' run times, interrupts, what its own hypervisor took, and, held
against the time that it was not idle, what nobody named is known to have run: short-lived processes, and threads that
came or went. A wait is shared out in proportion to what the others ran, to nobody more than it ran. What is left, what the
ledger itself cannot name, and every wait of a thread that moved or may have, is "unknown": said, never guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from attrs import frozen

from qsup.truth.wait_samples import PcpuTimes, ThreadKey
from qsup.truth.wait_spent import Spent

INTERRUPTS = "interrupts"
STEAL = "the host's own hypervisor"
OTHERS = "others"
SLACK = 0.02
SLACK_NS = 20_000_000
"""/proc/stat counts in ticks of 10 ms: two of them mean nothing."""
EXACT_SLACK = 0.05
MOST_NAMES = 8

FIRST_LOOK = "first look"
MOVED = "it moved between pCPUs"
UNLOOKED = "not looked at closely yet"
UNNAMED = "short-lived or moving threads"
NOT_SEEN = "nobody was seen there"
SHORT_LIVED = "short-lived"


Run = tuple[ThreadKey, str, float]
"""(thread, name, ns that it ran on the pCPU)."""


@frozen
class Ledger:
    """One pCPU over the span: (thread, name, ns) of all who stayed there, ns by name of what is no thread, and the unknown."""

    runs: tuple[Run, ...]
    extra: Mapping[str, float]
    unnamed_ns: float
    why_unnamed: str = UNNAMED

    def others_ns(self, key: ThreadKey) -> float:
        """What is known to have run there besides this thread."""
        return sum(ns for other, _, ns in self.runs if other != key) + sum(self.extra.values())


@frozen
class Blamed:
    """A wait shared out: ns by name, the most first; the unknown, and why."""

    by_name: tuple[tuple[str, float], ...]
    unknown_ns: float
    why_unknown: str


def ledger_of(spent: Collection[Spent], before: PcpuTimes | None, after: PcpuTimes | None, span_ns: int) -> Ledger:
    """The ledger of a pCPU.

    Args:
        spent: all threads whose last pCPU is this one, of VMs and others.
        before, after: its times; without them nothing can be held against the run times.
    """
    stayed = [item for item in spent if item.stayed and item.run_ns > 0]
    ran_ns = float(sum(item.run_ns for item in stayed))
    if before is None or after is None or after.idle_ns < before.idle_ns:
        return Ledger(tuple((item.key, item.thread.who, float(item.run_ns)) for item in stayed), {}, 0.0)
    busy_ns = max(span_ns - (after.idle_ns - before.idle_ns), 0)
    slack_ns = SLACK * span_ns + SLACK_NS
    if ran_ns > busy_ns + slack_ns:
        return _scaled(stayed, ran_ns - busy_ns)
    extra: dict[str, float] = {}
    gap_ns = busy_ns - ran_ns
    for name, grown_ns in ((INTERRUPTS, after.irq_ns - before.irq_ns), (STEAL, after.steal_ns - before.steal_ns)):
        # A kernel that does not account them apart has them in the run times already: they only fill a gap.
        part_ns = min(max(grown_ns, 0), max(gap_ns, 0.0))
        if part_ns > 0:
            extra[name] = part_ns
            gap_ns -= part_ns
    runs = tuple((item.key, item.thread.who, float(item.run_ns)) for item in stayed)
    unlooked_ns = sum(item.run_ns for item in spent if item.unlooked)
    return Ledger(runs, extra, gap_ns if gap_ns > slack_ns else 0.0, UNLOOKED if unlooked_ns * 2 > gap_ns else UNNAMED)


def exact_ledger_of(runs: Iterable[Run], before: PcpuTimes | None, after: PcpuTimes | None, span_ns: int) -> Ledger | None:
    """The ledger of a pCPU from what each thread is known to have run there; None where that is not all of it.

    A thread that has not left the pCPU for long is not counted yet. Interrupts and steal are within the times of whom they hit.
    """
    known = tuple(runs)
    if before is None or after is None or after.idle_ns < before.idle_ns:
        return Ledger(known, {}, 0.0)
    idle_ns, irq_ns, steal_ns = (max(now - then, 0) for then, now in zip(before, after, strict=True))
    gap_ns = span_ns - idle_ns - irq_ns - steal_ns - sum(ns for _, _, ns in known)
    return Ledger(known, {}, 0.0) if gap_ns <= EXACT_SLACK * span_ns + SLACK_NS else None


def _scaled(stayed: list[Spent], excess_ns: float) -> Ledger:
    """More was run than there was time: some of those who may have been elsewhere were; which ones is not known."""
    unsure_ns = sum(item.run_ns for item in stayed if not item.sure)
    keep = max(1 - excess_ns / unsure_ns, 0.0) if unsure_ns else 1.0
    runs = tuple((item.key, item.thread.who, item.run_ns * (1.0 if item.sure else keep)) for item in stayed)
    return Ledger(runs, {}, min(excess_ns, float(unsure_ns)))


def blame(key: ThreadKey, wait_ns: float, ledger: Ledger) -> Blamed:
    """Share out the wait of a thread that stayed on this ledger's pCPU."""
    named: defaultdict[str, float] = defaultdict(float, ledger.extra)
    for other, who, ran_ns in ledger.runs:
        if other != key:
            named[who] += ran_ns
    total_ns = sum(named.values()) + ledger.unnamed_ns
    if total_ns <= 0:
        return Blamed((), wait_ns, NOT_SEEN)
    factor = min(wait_ns / total_ns, 1.0)
    rows = _ordered({who: ran_ns * factor for who, ran_ns in named.items() if ran_ns > 0})
    unknown_ns = max(wait_ns - sum(ns for _, ns in rows), 0.0)
    return Blamed(rows, unknown_ns, ledger.why_unnamed if ledger.unnamed_ns else NOT_SEEN)


def _ordered(named: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    rows = sorted(named.items(), key=lambda row: (-row[1], row[0]))
    if len(rows) <= MOST_NAMES:
        return tuple(rows)
    return (*rows[:MOST_NAMES], (OTHERS, sum(ns for _, ns in rows[MOST_NAMES:])))
