"""VMs come and go on paper."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings

from qsup.bytesize import GIB
from qsup.errors import Refused
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.whatif import (
    Shape,
    Stage,
    largest_memory,
    largest_of_shape,
    plan_batch,
    shape_of,
    stranded,
    with_offline,
    without_vms,
)
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import POLICY, ask, dedicated, pins, started, vm
from tests.plan.checker import faults_of
from tests.plan.hosts import HUGE_2M, no_smt, two_sockets
from tests.plan.strategies import batches, hosts

some = settings(max_examples=100, deadline=None)


def empty(facts: HostFacts) -> Stage:
    return Stage(facts, POLICY, Ledger())


@some
@given(hosts(), batches())
def test_a_batch_on_paper_is_what_the_daemon_would_do(facts: HostFacts, batch: list[VmSpec]) -> None:
    ledger, refused = started(batch, facts)
    outcome = plan_batch(batch, empty(facts))
    assert outcome.refused.keys() == refused.keys()
    assert set(outcome.placed) == set(ledger.holdings)
    plans = [holding.plan for holding in outcome.stage.ledger.holdings.values()]
    assert faults_of(facts, POLICY, plans) == []


def test_who_leaves_gives_back_what_was_taken() -> None:
    facts = two_sockets()
    plan = ask(vm("web1", memory=MemorySpec(size_bytes=4 * GIB, hugepages_bytes=HUGE_2M)), facts)
    (node,) = plan.guest_nodes[0].host_nodes
    holding = Holding(plan, {(node, HUGE_2M): 2048}, {node: 64 << 20})
    taken = evolve(
        facts,
        nodes=tuple(
            evolve(
                one,
                memory_free_bytes=one.memory_free_bytes - (64 << 20),
                pools=tuple(evolve(p, free=p.free - 2048) if p.page_size_bytes == HUGE_2M else p for p in one.pools),
            )
            if one.host_node == node
            else one
            for one in facts.nodes
        ),
    )
    stage = without_vms(Stage(taken, POLICY, Ledger().reserved(holding)), ["web1", "nobody"])
    assert stage.facts == facts
    assert not stage.ledger.holdings


def test_a_vm_that_runs_is_planned_anew() -> None:
    facts = no_smt()
    ledger, _ = started([dedicated("web1", 2)], facts)
    outcome = plan_batch([dedicated("web1", 6)], Stage(facts, POLICY, ledger))
    assert len(outcome.stage.ledger.holdings["web1"].plan.vcpus) == 6


def test_shared_vms_follow_the_pool() -> None:
    facts = no_smt()
    ledger, _ = started([vm("web1")], facts)
    outcome = plan_batch([dedicated("db1", 4)], Stage(facts, POLICY, ledger))
    assert pins(ledger.holdings["web1"].plan) == [[1, 2, 3, 4, 5, 6, 7]]
    assert pins(outcome.stage.ledger.holdings["web1"].plan) == [[5, 6, 7]]


def test_pcpus_that_go_offline_strand_who_sits_there() -> None:
    facts = no_smt()
    ledger, _ = started([dedicated("db1", 2), dedicated("db2", 2), vm("web1")], facts)
    on_db1 = ledger.holdings["db1"].plan.vcpus[0].pin
    broken = with_offline(facts, on_db1)
    assert broken.index.online == facts.index.online - on_db1
    assert stranded(facts, ledger) == ()
    assert stranded(broken, ledger) == ("db1",)
    outcome = plan_batch([dedicated("db1", 2)], Stage(broken, POLICY, ledger))
    assert stranded(broken, outcome.stage.ledger) == ()


@pytest.mark.parametrize("placement", ["dedicated", "isolated"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("held", [0, 3, 9])
def test_the_largest_of_a_shape_fits_and_the_next_does_not(placement: str, threads: int, held: int) -> None:
    facts = two_sockets()
    ledger, _ = started([dedicated(f"s{number}", 1) for number in range(held)], facts)
    stage = Stage(facts, POLICY, ledger)
    shape = Shape(placement, threads, GIB, HUGE_2M)  # type: ignore[arg-type]
    found = largest_of_shape(shape, stage)
    assert found is not None
    cores = len(found.vcpus) // threads
    assert len(ask(shape.of_cores(cores), facts, ledger).vcpus) == len(found.vcpus)
    with pytest.raises(Refused):
        ask(shape.of_cores(cores + 1), facts, ledger)


def test_the_whole_host_is_the_largest() -> None:
    found = largest_of_shape(Shape("dedicated", 2, GIB), empty(two_sockets()))
    assert found is not None
    assert len(found.vcpus) == 30


def test_nothing_fits_a_full_host() -> None:
    facts = no_smt()
    ledger, _ = started([dedicated("db1", 7)], facts)
    stage = Stage(facts, POLICY, ledger)
    assert largest_of_shape(Shape("dedicated", 1, GIB), stage) is None
    assert largest_of_shape(Shape("dedicated", 1, 1 << 50), empty(facts)) is None


def test_the_most_memory() -> None:
    facts = no_smt()
    found = largest_memory(empty(facts))
    assert found is not None
    free = sum(node.memory_free_bytes for node in facts.nodes)
    assert free - 2 * GIB < found.memory_bytes < free
    huge = largest_memory(empty(facts), HUGE_2M)
    assert huge is not None
    assert huge.memory_bytes >= 4096 * HUGE_2M


def test_shapes_of_vms() -> None:
    spec = dedicated("db1", 4, threads=2, memory=MemorySpec(size_bytes=8 * GIB, hugepages_bytes=HUGE_2M))
    assert shape_of(spec) == Shape("dedicated", 2, 2 * GIB, HUGE_2M)
    pinned = vm("p", cpu=CpuSpec(vcpus=1, placement="pinned", pin=(frozenset({1}),)))
    assert shape_of(pinned) is None
