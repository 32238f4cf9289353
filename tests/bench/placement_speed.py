"""How fast the planner is: 1,000 VMs on 512 pCPUs and 8 host nodes, one more of them, and how the time grows.

    python -m tests.bench.placement_speed

CPU time, not wall time. Exits with 1 where a promise is broken: 2 s for all, 5 ms for one more, growth of n log n at most.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence

from attrs import frozen

from qsup.errors import Refused
from qsup.plan.batch import batch_order
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.repin import shared_repins
from qsup.plan.suggest import suggestions
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ALIASES, POLICY, ask, dedicated, vm
from tests.plan.hosts import HUGE_2M, eight_nodes

COUNTS = (250, 500, 1000, 2000, 4000)
ASKED = 1000
MOST_TOTAL_S = 2.0
MOST_ONE_S = 0.005
# The exponent that n log n has between the smallest and the largest count.
MOST_EXPONENT = 1 + math.log(math.log(COUNTS[-1]) / math.log(COUNTS[0])) / math.log(COUNTS[-1] / COUNTS[0])


@frozen
class Timing:
    """CPU seconds."""

    count: int
    total_s: float
    one_dedicated_s: float
    one_shared_s: float
    repins_s: float


def workload(count: int) -> list[VmSpec]:
    """One VM in ten has its own pCPUs, as far as the host has them (100 in 1,000); the others share."""
    memory = MemorySpec(size_bytes=64 * HUGE_2M, hugepages_bytes=HUGE_2M)
    own = [dedicated(f"own{number}", 4, threads=2, memory=memory) for number in range(min(100, count // 10))]
    shared = [vm(f"shared{number}", cpu=CpuSpec(vcpus=2), memory=memory) for number in range(count - len(own))]
    return [*own, *shared]


def filled(facts: HostFacts, count: int) -> Ledger:
    """The host with so many VMs planned, one after another."""
    ledger = Ledger()
    for spec in batch_order(workload(count)):
        ledger = ledger.reserved(Holding(ask(spec, facts, ledger)))
    return ledger


def timing_of(facts: HostFacts, count: int) -> Timing:
    """The times for one count of VMs."""
    began_s = time.process_time()
    ledger = filled(facts, count)
    total_s = time.process_time() - began_s
    return Timing(
        count,
        total_s,
        median_s(lambda: ask(dedicated("more", 4, threads=2), facts, ledger)),
        median_s(lambda: ask(vm("more", cpu=CpuSpec(vcpus=2)), facts, ledger)),
        median_s(lambda: shared_repins(facts, POLICY, ledger)),
    )


def median_s(work: Callable[[], object], times: int = 15) -> float:
    """The median CPU time of some runs."""
    taken: list[float] = []
    for _ in range(times):
        began_s = time.process_time()
        work()
        taken.append(time.process_time() - began_s)
    return sorted(taken)[times // 2]


def exponent_of(timings: Sequence[Timing]) -> float:
    """The slope of a line through the logarithms of count and total."""
    xs = [math.log(timing.count) for timing in timings]
    ys = [math.log(timing.total_s) for timing in timings]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def refusal_s(facts: HostFacts, ledger: Ledger) -> tuple[float, float]:
    """CPU seconds for a refusal with its reasons, and for its suggestions."""
    spec = dedicated("huge", 200, threads=2, memory=MemorySpec(size_bytes=8192 << 30))

    def refused() -> None:
        try:
            ask(spec, facts, ledger)
        except Refused:
            return
        raise AssertionError("the host cannot take that much")

    return median_s(refused), median_s(lambda: suggestions(spec, facts, POLICY, ledger, None, ALIASES), 3)


def main() -> int:
    """Measure and print the table."""
    facts = eight_nodes()
    timings = [timing_of(facts, count) for count in COUNTS]
    exponent = exponent_of(timings)
    print(f"Planning on {len(facts.pcpus)} pCPUs, {len(facts.nodes)} host nodes; one VM in ten dedicated; CPU time")
    print(f"  {'VMs':>6} {'all':>9} {'one dedicated more':>19} {'one shared more':>16} {'re-pins':>9}")
    for timing in timings:
        print(
            f"  {timing.count:>6} {timing.total_s:>7.2f} s {timing.one_dedicated_s * 1e3:>16.2f} ms "
            f"{timing.one_shared_s * 1e3:>13.2f} ms {timing.repins_s * 1e3:>6.1f} ms"
        )
    print(f"  growth: n^{exponent:.2f} (n log n is n^{MOST_EXPONENT:.2f} here)")
    asked = next(timing for timing in timings if timing.count == ASKED)
    reasons_s, suggestions_s = refusal_s(facts, filled(facts, ASKED))
    print(f"  a refusal beside {ASKED} VMs: {reasons_s * 1e3:.1f} ms, its suggestions {suggestions_s:.2f} s")
    one_s = max(asked.one_dedicated_s, asked.one_shared_s)
    return 0 if asked.total_s < MOST_TOTAL_S and one_s < MOST_ONE_S and exponent <= MOST_EXPONENT else 1


if __name__ == "__main__":
    sys.exit(main())
