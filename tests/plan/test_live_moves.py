"""Live re-pins that make room: each set found is done on paper, step by step, and judged by the independent checker."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve

from qsup.bytesize import GIB
from qsup.errors import Refused
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.live_moves import moved_ledger, room_by_moves
from qsup.plan.repin import shared_repins
from qsup.plan.whatif import Stage
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import POLICY, ask, dedicated, started, vm
from tests.plan.checker import faults_of
from tests.plan.hosts import no_smt, nps4, two_sockets


def scattered(facts: HostFacts, seed: int, count: int = 24) -> Ledger:
    """A host whose free pCPUs are scattered: many small VMs came, and some went."""
    dice = random.Random(seed)
    ledger, _ = started([dedicated(f"s{number}", dice.choice([1, 1, 2, 3])) for number in range(count)], facts)
    for name in sorted(ledger.holdings):
        if dice.random() < 0.6:
            ledger = ledger.released(name)
    return ledger


def isolated(name: str, vcpus: int) -> VmSpec:
    return vm(name, cpu=CpuSpec(vcpus=vcpus, placement="isolated"))


def sizes(facts: HostFacts) -> Iterator[VmSpec]:
    """VMs of both kinds that gain by moves, in all sizes."""
    for cores in range(1, len(facts.index.cores)):
        yield dedicated("new", 2 * cores, threads=2, smt="require")
        yield isolated("new", cores)


@pytest.mark.parametrize(("host", "count", "seeds"), [(two_sockets, 24, 12), (nps4, 44, 4)])
def test_moves_make_room_and_break_no_promise(host: Callable[[], HostFacts], count: int, seeds: int) -> None:
    facts = host()
    found = sum(checked_moves(facts, scattered(facts, seed, count)) for seed in range(seeds))
    assert found > 10


def checked_moves(facts: HostFacts, ledger: Ledger) -> int:
    """For how many VMs that do not fit moves were found; each of them is checked."""
    found = 0
    for spec in sizes(facts):
        made = None if fits(spec, facts, ledger) else room_by_moves(spec, Stage(facts, POLICY, ledger))
        if made is None:
            continue
        found += 1
        targets = [move.to_pcpu for move in made.moves]
        assert len(set(targets)) == len(targets)
        assert not ledger.index.exclusive.keys() & set(targets)
        assert all(facts.index.node_of[move.from_pcpu] == facts.index.node_of[move.to_pcpu] for move in made.moves)
        after = moved_ledger(ledger, made.moves)
        assert ask(spec, facts, after, machine_aliases={}) == made.plan
        plans = [holding.plan for holding in after.reserved(Holding(made.plan)).holdings.values()]
        assert faults_of(facts, POLICY, plans) == []
    return found


def fits(spec: VmSpec, facts: HostFacts, ledger: Ledger) -> bool:
    try:
        ask(spec, facts, ledger)
    except Refused:
        return False
    return True


def test_every_second_sibling_is_gathered() -> None:
    facts = two_sockets()
    ledger, _ = started([dedicated(f"s{number}", 1) for number in range(14)], facts)
    for number in range(0, 14, 2):
        ledger = ledger.released(f"s{number}")
    stage = Stage(facts, POLICY, ledger)
    with pytest.raises(Refused):
        ask(dedicated("big", 22, threads=2, smt="require"), facts, ledger)
    made = room_by_moves(dedicated("big", 22, threads=2, smt="require"), stage)
    assert made is not None
    assert len(made.moves) == 3  # seven single vCPUs on seven cores fit on four
    assert room_by_moves(dedicated("big", 24, threads=2, smt="require"), stage) is None


def test_guest_siblings_move_together() -> None:
    facts = no_smt()
    pairs = two_sockets()
    pair = dedicated("pair", 2, threads=2, smt="require")
    ledger, _ = started([pair, *(dedicated(f"s{number}", 1) for number in range(12))], pairs)
    big = dedicated("big", 4, threads=2, smt="require")
    made = room_by_moves(big, Stage(pairs, POLICY, ledger))
    after = moved_ledger(ledger, made.moves) if made else ledger
    cores = {pairs.index.core_of[pcpu] for vcpu in after.holdings["pair"].plan.vcpus for pcpu in vcpu.pin}
    assert len(cores) == 1
    assert room_by_moves(dedicated("big", 8), Stage(facts, POLICY, Ledger())) is None


def test_who_floats_gains_nothing() -> None:
    facts = no_smt()
    ledger, _ = started([dedicated("db1", 7)], facts)
    assert room_by_moves(vm("web1"), Stage(facts, POLICY, ledger)) is None


def test_shared_vms_keep_a_pool() -> None:
    facts = two_sockets()
    ledger, _ = started([vm("web1"), *(dedicated(f"s{number}", 1) for number in range(20))], facts)
    for number in range(0, 20, 2):
        ledger = ledger.released(f"s{number}")
    for plan in shared_repins(facts, POLICY, ledger):
        ledger = ledger.reserved(evolve(ledger.holdings[plan.name], plan=plan))
    for cores in range(1, 16):
        made = room_by_moves(dedicated("big", 2 * cores, threads=2, smt="require"), Stage(facts, POLICY, ledger))
        if made is not None:
            after = moved_ledger(ledger, made.moves).reserved(Holding(made.plan))
            assert all(plan.vcpus[0].pin for plan in shared_repins(facts, POLICY, after))


def test_one_host_node_is_worth_more_moves() -> None:
    facts = two_sockets()
    jobs = [dedicated(f"job{number}", 1, memory=on_node(0)) for number in range(14)]
    ledger, _ = started([*jobs, dedicated("db1", 14, threads=2, memory=on_node(1))], facts)
    for number in range(1, 14, 2):
        ledger = ledger.released(f"job{number}")
    made = room_by_moves(isolated("new", 3), Stage(facts, POLICY, ledger))
    assert made is not None
    assert [guest.host_nodes for guest in made.plan.guest_nodes] == [(0,)]
    assert len(made.moves) == 3, "with two of them it would lie on both nodes"


def on_node(node: int) -> MemorySpec:
    return MemorySpec(size_bytes=GIB, host_nodes=frozenset({node}))
