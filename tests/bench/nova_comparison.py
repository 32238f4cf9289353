"""qsup's planner beside Nova's: the same VMs on the same recorded hosts, each until the first VM that it refuses.

    python -m tests.bench.nova_comparison [SEEDS]

Prints the tables and every seed, and exits with 1 where a promise of docs/placement-nova.md is broken.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from qsup.plan.host_facts import HostFacts
from tests.bench.nova_environment import NOVA, nova_python
from tests.bench.nova_sides import NovaSide, Outcome, Placed, qsup_outcome
from tests.bench.nova_splits import Splits, faults_of, splits_of
from tests.bench.nova_workload import HOSTS, Request, host, host_of_seed, requests_of_seed

SEEDS = 200
OURS, WRITTEN, NOVAS, PACKING = "qsup", "qsup, nodes written", "Nova", "Nova, packing"
MOST_SEEDS_FEWER = 0.01
MOST_FEWER = 1


@frozen
class Run:
    """One workload as each of them placed it; `common_ns` is the CPU time for the VMs that all of them place."""

    seed: int
    placed: Mapping[str, Sequence[Placed]]
    splits: Mapping[str, Splits]
    common: int
    common_ns: Mapping[str, int]

    def count(self, who: str) -> int:
        """VMs placed."""
        return len(self.placed[who])


def run_of(seed: int, nova: NovaSide) -> Run:
    """One seed.

    Raises:
        AssertionError: somebody gave a pCPU twice.
    """
    facts, requests = host(host_of_seed(seed)), requests_of_seed(seed)
    placed = {who: outcome.placed for who, outcome in outcomes(facts, requests, nova).items()}
    for who, vms in placed.items():
        faults = faults_of(facts, vms)
        assert not faults, f"seed {seed}, {who}: {faults}"
    common = min(map(len, placed.values()))
    again = outcomes(facts, requests[:common], nova)
    return Run(
        seed,
        placed,
        {who: splits_of(facts, vms) for who, vms in placed.items()},
        common,
        {who: outcome.ns for who, outcome in again.items()},
    )


def outcomes(facts: HostFacts, requests: Sequence[Request], nova: NovaSide) -> dict[str, Outcome]:
    """Each way to place the same VMs."""
    return {
        OURS: qsup_outcome(facts, requests, "auto"),
        WRITTEN: qsup_outcome(facts, requests, "written"),
        NOVAS: nova.outcome(facts, requests, pack=False),
        PACKING: nova.outcome(facts, requests, pack=True),
    }


def total(runs: Sequence[Run], who: str) -> Splits:
    """The splits of all seeds."""
    return sum((run.splits[who] for run in runs), Splits())


def common_ns(runs: Sequence[Run], who: str) -> int:
    """The CPU time for the VMs that all of them place, of all seeds."""
    return sum(run.common_ns[who] for run in runs)


def fewer_than_nova(runs: Sequence[Run], who: str, other: str = NOVAS) -> dict[int, int]:
    """Seeds with fewer VMs than the other placed, and how many fewer."""
    return {run.seed: run.count(other) - run.count(who) for run in runs if run.count(who) < run.count(other)}


def broken_promises(runs: Sequence[Run]) -> list[str]:
    """What docs/placement-nova.md promises and these runs do not show."""
    ours, novas = total(runs, OURS), total(runs, NOVAS)
    fewer = fewer_than_nova(runs, OURS)
    checks = {
        "more VMs in total": sum(run.count(OURS) for run in runs) > sum(run.count(NOVAS) for run in runs),
        "fewer in 1 % of the seeds at most": len(fewer) <= MOST_SEEDS_FEWER * len(runs),
        "never fewer by more than one": max(fewer.values(), default=0) <= MOST_FEWER,
        "fewer cross-node splits": ours.cross_node < novas.cross_node,
        "fewer cross-core splits": ours.cross_core < novas.cross_core,
        "faster": common_ns(runs, OURS) < common_ns(runs, NOVAS),
    }
    return [promise for promise, kept in checks.items() if not kept]


def table(runs: Sequence[Run]) -> list[str]:
    """One column for each way to place, one line for each figure."""
    names = (OURS, WRITTEN, NOVAS, PACKING)
    common = sum(run.common for run in runs)
    figures: dict[str, Callable[[str], object]] = {
        "VMs placed": lambda who: sum(run.count(who) for run in runs),
        "seeds with fewer than Nova": lambda who: len(fewer_than_nova(runs, who)),
        "most fewer in one seed": lambda who: max(fewer_than_nova(runs, who).values(), default=0),
        "seeds with fewer than Nova, packing": lambda who: len(fewer_than_nova(runs, who, PACKING)),
        "cross-node splits": lambda who: total(runs, who).cross_node,
        "guest cores over host cores": lambda who: total(runs, who).guest_cores,
        "host cores broken": lambda who: total(runs, who).host_cores,
        "L3 groups beyond the first": lambda who: total(runs, who).l3,
        "distance between a VM's nodes": lambda who: total(runs, who).distance,
        f"CPU ms a VM, of the {common} that all place": lambda who: f"{common_ns(runs, who) / common / 1e6:.2f}",
    }
    rows = [("", *names), *((title, *(str(figure(who)) for who in names)) for title, figure in figures.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def seed_lines(runs: Sequence[Run]) -> list[str]:
    """Every seed, host by host: VMs placed by qsup, by Nova, by Nova when it packs."""
    lines = []
    for name in HOSTS:
        mine = [run for run in runs if host_of_seed(run.seed) == name]
        figures = (f"{run.seed}: {run.count(OURS)}/{run.count(NOVAS)}/{run.count(PACKING)}" for run in mine)
        lines.append(f"{name}: " + "  ".join(figures))
    return lines


def main(words: Sequence[str] = ()) -> int:
    """Run the seeds and print what came out."""
    seeds = int(words[0]) if words else SEEDS
    try:
        python = nova_python()
    except subprocess.CalledProcessError as error:
        print(f"{NOVA} cannot be installed: pip ended with {error.returncode}; nothing was compared")
        return 1
    with NovaSide(python) as nova:
        runs = [run_of(seed, nova) for seed in range(seeds)]
    print(f"Placement beside {NOVA}: the same VMs on the same hosts until the first refusal, seeds 0 to {seeds - 1}")
    print("\n".join(f"  {line}" for line in table(runs)))
    print("VMs placed by qsup/Nova/Nova packing, by seed")
    print("\n".join(f"  {line}" for line in seed_lines(runs)))
    broken = broken_promises(runs)
    print(f"  broken: {', '.join(broken)}" if broken else "  every promise of docs/placement-nova.md holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
