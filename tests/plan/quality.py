"""Seeded random cases on small hosts: what the planner's seat costs, and what the best one costs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from attrs import evolve, frozen

from qsup.bytesize import GIB, MIB
from qsup.errors import Refused
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan
from qsup.spec.cpu import CpuSpec, Smt
from qsup.spec.memory import MemorySpec
from qsup.spec.nic import NicSpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ask, started
from tests.plan.exhaustive import best_penalty
from tests.plan.hosts import HUGE_2M, build_host, with_bridge
from tests.plan.penalty import Machine, penalty_of

MOST_PCPUS = 16


@frozen
class Result:
    """One case: the points of the planner's seat and of the best one; None: refused, or impossible."""

    seed: int
    planned: int | None
    best: int | None

    @property
    def good(self) -> bool:
        """Refused only what is impossible, and within 5 % of the best."""
        if self.planned is None or self.best is None:
            return self.planned is self.best
        return self.best < 0 or self.planned * 100 <= self.best * 105


def results(seeds: Iterable[int]) -> Iterator[Result]:
    """The cases of these seeds."""
    return map(result_of, seeds)


def result_of(seed: int) -> Result:
    """One random VM on one random host where others run already."""
    dice = random.Random(seed)
    facts = random_host(dice)
    policy = HostPolicy(reserved_memory_bytes=dice.choice([0, 512 * MIB]), grow_hugepages=dice.random() < 0.7)
    ledger = crowded(dice, facts, policy)
    running = [holding.plan for holding in ledger.holdings.values()]
    spec = random_spec(dice, "new")
    machine = Machine.of(facts, policy, running)
    devices = [bridge.host_node for bridge in facts.bridges.values() if spec.nics and bridge.host_node is not None]
    best = best_penalty(machine, policy, running, spec, devices)
    return Result(seed, _planned(spec, facts, ledger, policy, machine, devices), best)


def _planned(
    spec: VmSpec, facts: HostFacts, ledger: Ledger, policy: HostPolicy, machine: Machine, devices: list[int]
) -> int | None:
    try:
        plan: VmPlan = ask(spec, facts, ledger, policy=policy)
    except Refused:
        return None
    return penalty_of(machine, plan, devices)


def random_host(dice: random.Random) -> HostFacts:
    """One to four nodes of up to 16 pCPUs together: with SMT or not, some offline, isolated or efficient."""
    threads = dice.choice([1, 2, 2])
    nodes = dice.choice([1, 2, 2, 3, 4])
    cores = dice.randint(1, MOST_PCPUS // threads // nodes)
    pcpus = range(1, nodes * cores * threads)
    near = {(one, other): dice.choice([12, 21]) for one in range(nodes) for other in range(one)}
    facts = build_host(
        nodes=nodes,
        cores_per_node=cores,
        threads=threads,
        cores_per_l3=dice.choice([1, 2, 3, 8]),
        memory_bytes=dice.choice([3, 5, 9]) * GIB,
        pages_2m=dice.choice([0, 512, 1024]),
        offline=dice.sample(pcpus, min(len(pcpus), dice.choice([0, 0, 1]))),
        isolated=dice.sample(pcpus, min(len(pcpus), dice.choice([0, 0, 0, 2, 4]))),
        distances={**near, **{(other, one): value for (one, other), value in near.items()}},
    )
    if dice.random() < 0.15:
        slow = {one.core for one in facts.pcpus if one.core % 2}
        kinds = (evolve(one, core_type="efficient" if one.core in slow else "performance") for one in facts.pcpus)
        facts = evolve(facts, pcpus=tuple(kinds))
    return with_bridge(facts, host_node=dice.choice([None, *range(nodes)]))


def crowded(dice: random.Random, facts: HostFacts, policy: HostPolicy) -> Ledger:
    """Some VMs started and some of them gone again, so that what is free is scattered."""
    specs = [random_spec(dice, f"vm{number}", small=True) for number in range(dice.choice([0, 2, 4, 6]))]
    ledger, _ = started(specs, facts, policy=policy)
    for name in sorted(ledger.holdings):
        if dice.random() < 0.4:
            ledger = ledger.released(name)
    return ledger


def random_spec(dice: random.Random, name: str, *, small: bool = False) -> VmSpec:
    """A VM that a small host may just take."""
    threads = dice.choice([1, 1, 2])
    placement = dice.choice(["dedicated", "dedicated", "isolated", "shared"])
    smts: list[Smt | None] = [None, None, "isolate", "require" if threads == 2 else None]
    cpu = CpuSpec(
        vcpus=threads * dice.randint(1, 2 if small else 4),
        threads=threads,
        placement=placement,  # type: ignore[arg-type]
        smt=dice.choice(smts) if placement == "dedicated" else None,
    )
    memory = MemorySpec(
        size_bytes=512 * MIB if small else dice.choice([256 * MIB, GIB, 2 * GIB, 4 * GIB]),
        hugepages_bytes=dice.choice([None, HUGE_2M]),
        host_nodes=None if small or dice.random() < 0.8 else frozenset({0}),
    )
    return VmSpec(name=name, cpu=cpu, memory=memory, nics=(NicSpec(bridge="br0"),) if dice.random() < 0.5 else ())
