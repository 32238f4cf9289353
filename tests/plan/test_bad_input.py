"""Hosts that cannot be and VMs that no file can ask for: a plan or reasons, never anything else."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.errors import Refused
from qsup.plan.host_facts import HostFacts, HostNodeFacts, PcpuFacts, PoolFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.plan.suggest import suggestions
from qsup.plan.vmplan import VmPlan
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import GuestNodeSpec, MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ALIASES, POLICY, ask, dedicated, refusal, vm
from tests.plan.hosts import HUGE_1G, HUGE_2M, build_host, no_smt, two_sockets
from tests.plan.strategies import policies

NUMBERS = st.integers(0, 5)
SIZES = st.sampled_from([0, 1, 4096, 2 * MIB, 300 * MIB, GIB, 3 * GIB, 1 << 62])


@st.composite
def odd_hosts(draw: st.DrawFn) -> HostFacts:
    """Anything that a broken sysfs may look like: pCPUs of unknown nodes, nodes without memory or distances, no L3."""
    pcpus = [
        PcpuFacts(
            pcpu=number,
            host_node=draw(NUMBERS),
            socket=draw(NUMBERS),
            die=draw(NUMBERS),
            core=draw(NUMBERS),
            l3=draw(st.none() | NUMBERS),
            online=draw(st.booleans()),
            isolated=draw(st.booleans()),
            core_type=draw(st.sampled_from([None, "performance", "efficient", "strange"])),
        )
        for number in range(draw(st.integers(0, 12)))
    ]
    nodes = [
        HostNodeFacts(
            host_node=number,
            memory_total_bytes=draw(SIZES),
            memory_free_bytes=draw(SIZES),
            distances=draw(st.dictionaries(NUMBERS, st.integers(0, 255), max_size=3)),
            pools=tuple(draw(st.lists(pools(), max_size=2, unique_by=lambda pool: pool.page_size_bytes))),
        )
        for number in sorted(draw(st.frozensets(NUMBERS, max_size=4)))
    ]
    return HostFacts(pcpus=tuple(pcpus), nodes=tuple(nodes), may_bind_memory=draw(st.booleans()))


@st.composite
def pools(draw: st.DrawFn) -> PoolFacts:
    """Pools whose numbers need not add up."""
    numbers = [draw(st.integers(0, 1000)) for _ in range(4)]
    return PoolFacts(draw(st.sampled_from([HUGE_2M, HUGE_1G, 65536])), *numbers)


@st.composite
def odd_specs(draw: st.DrawFn, name: str = "odd") -> VmSpec:
    """Numbers that contradict one another; a file with them would not be accepted."""
    vcpus = draw(st.integers(1, 13))
    vcpu_sets = st.frozensets(st.integers(0, 14), max_size=6)
    cpu = CpuSpec(
        vcpus=vcpus,
        sockets=draw(st.none() | NUMBERS),
        cores=draw(st.none() | NUMBERS),
        threads=draw(st.integers(0, 5)),
        placement=draw(st.sampled_from(["dedicated", "isolated", "shared", "pinned"])),
        pin=draw(st.none() | st.lists(st.frozensets(st.integers(0, 14), max_size=3), max_size=5).map(tuple)),
        smt=draw(st.sampled_from([None, "prefer", "require", "isolate"])),
        shared_vcpus=draw(st.none() | vcpu_sets),
        realtime_priority=draw(st.sampled_from([None, None, 1])),
        emulator=draw(st.sampled_from([None, "own", "beside", frozenset(), frozenset({0, 99})])),
        iothreads=draw(st.sampled_from(["housekeeping", "own", "beside"])),
    )
    pages = st.sampled_from([None, "off", HUGE_2M, HUGE_1G, 65536])
    host_nodes = st.none() | st.frozensets(NUMBERS, max_size=3)
    nodes = st.lists(st.builds(GuestNodeSpec, vcpu_sets, SIZES, host_nodes, pages), max_size=3)
    memory = MemorySpec(
        size_bytes=draw(SIZES),
        hugepages_bytes=draw(st.sampled_from([None, HUGE_2M, HUGE_1G, 65536])),
        nodes=draw(st.none() | nodes.map(tuple)),
        host_nodes=draw(st.none() | st.frozensets(NUMBERS, max_size=3)),
        policy=draw(st.sampled_from(["bind", "preferred", "interleave"])),
    )
    return VmSpec(name=name, cpu=cpu, memory=memory)


@settings(max_examples=120, deadline=None)
@given(odd_hosts(), policies(), odd_specs("one"), odd_specs("two"))
def test_nothing_but_a_plan_or_reasons(facts: HostFacts, policy: HostPolicy, one: VmSpec, two: VmSpec) -> None:
    ledger = Ledger()
    for spec in (one, two):
        answer = answer_to(spec, facts, ledger, policy)
        if isinstance(answer, VmPlan):
            ledger = ledger.reserved(Holding(answer))
        else:
            assert all(reason.message and reason.hint for reason in answer.reasons)
    shared_repins(facts, policy, ledger)


def answer_to(spec: VmSpec, facts: HostFacts, ledger: Ledger, policy: HostPolicy) -> VmPlan | Refused:
    try:
        return ask(spec, facts, ledger, policy=policy)
    except Refused as refused:
        return refused


@settings(max_examples=60, deadline=None)
@given(odd_hosts(), policies(), odd_specs())
def test_suggestions_survive_it_too(facts: HostFacts, policy: HostPolicy, spec: VmSpec) -> None:
    for found in suggestions(spec, facts, policy, Ledger(), None, ALIASES):
        assert found.changes


def test_three_threads_a_core_on_a_host_of_two() -> None:
    plan = ask(dedicated("odd", 6, threads=3), two_sockets())
    assert [warning.code for warning in plan.warnings] == ["plan.smt-absent"]
    assert (plan.cores, plan.threads) == (2, 3)
    assert "plan.smt-absent" in refusal(dedicated("odd", 6, threads=3, smt="require"), two_sockets())
    assert "plan.topology" in refusal(dedicated("odd", 7, threads=3), two_sockets())


@pytest.mark.parametrize("vcpus", [5, 7, 11, 13])
def test_a_prime_number_of_vcpus_over_two_nodes(vcpus: int) -> None:
    facts = build_host(nodes=2, cores_per_node=8, memory_bytes=3 * GIB)
    plan = ask(dedicated("prime", vcpus, memory=MemorySpec(size_bytes=4 * GIB)), facts)
    assert sorted(len(node.vcpus) for node in plan.guest_nodes) == [vcpus // 2, vcpus // 2 + 1]


def test_a_node_of_no_size_is_passed_over_or_named() -> None:
    facts = two_sockets()
    empty = evolve(facts.nodes[0], memory_total_bytes=0, memory_free_bytes=0, pools=())
    facts = evolve(facts, nodes=(empty, facts.nodes[1]))
    assert ask(dedicated("db", 2), facts).guest_nodes[0].host_nodes == (1,)
    spec = vm(memory=MemorySpec(size_bytes=GIB, host_nodes=frozenset({0})))
    assert "plan.host-node-empty" in refusal(spec, facts)


def test_a_host_without_nodes_is_refused() -> None:
    assert "plan.no-memory-node" in refusal(vm(), evolve(no_smt(), nodes=()))


def test_contradicting_policies_are_reasons() -> None:
    everything = HostPolicy(housekeeping=frozenset(range(8)))
    assert "plan.pcpus-short" in refusal(dedicated("db", 1), no_smt(), policy=everything)
    assert "plan.shared-pool-empty" in refusal(vm(), no_smt(), policy=everything)
    too_much = HostPolicy(reserved_memory_bytes=1 << 50)
    assert "plan.memory-short" in refusal(vm(), no_smt(), policy=too_much)
    assert POLICY.reserved_memory_on(99) == 512 * MIB
