"""Everybody in their seats."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings

from qsup.bytesize import GIB
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import GuestNodeSpec, MemorySpec
from qsup.spec.vmspec import VmSpec
from qsup.truth.host_map import HostMap, PcpuMap, map_of
from tests.plan.asking import POLICY, ask, dedicated, started, vm
from tests.plan.hosts import HUGE_1G, HUGE_2M, build_host, laptop, no_smt, two_sockets
from tests.plan.strategies import batches, hosts


def pcpus(picture: HostMap) -> dict[int, PcpuMap]:
    return {one.pcpu: one for node in picture.nodes for cache in node.caches for core in cache.cores for one in core.pcpus}


def test_an_empty_host() -> None:
    picture = map_of(two_sockets(), POLICY, Ledger())
    assert (picture.pcpus, picture.online, picture.cores, picture.threads) == (32, 32, 16, 2)
    assert picture.housekeeping == "0,16"
    uses = {number: one.use for number, one in pcpus(picture).items()}
    assert {number for number, use in uses.items() if use == "housekeeping"} == {0, 16}
    assert {use for number, use in uses.items() if number not in (0, 16)} == {"free"}
    assert [node.distances for node in picture.nodes] == [(10, 21), (21, 10)]


def test_every_way_of_sitting() -> None:
    facts = two_sockets()
    specs = [
        dedicated("db1", 2, threads=2),
        vm("iso", cpu=CpuSpec(vcpus=1, placement="isolated")),
        vm("pin", cpu=CpuSpec(vcpus=2, placement="pinned", pin=(frozenset({30}), frozenset({30, 31})))),
        vm("web1", cpu=CpuSpec(vcpus=3)),
    ]
    ledger, refused = started(specs, facts)
    assert not refused
    picture = map_of(facts, POLICY, ledger)
    seen = pcpus(picture)
    for vcpu in ledger.holdings["db1"].plan.vcpus:
        (pcpu,) = vcpu.pin
        assert (seen[pcpu].use, seen[pcpu].vms) == ("owned", ("db1",))
        assert seen[pcpu].seats[0].vcpu_index == vcpu.vcpu_index
    (emptied,) = ledger.holdings["iso"].plan.emptied
    assert (seen[emptied].use, seen[emptied].vms) == ("emptied", ("iso",))
    assert (seen[30].use, [seat.vcpu_index for seat in seen[30].seats]) == ("pinned", [0, 1])
    (group,) = picture.floating
    assert (group.vms, group.vcpus) == (("web1",), 3)
    assert {number for number, one in seen.items() if one.use == "pool"} == ledger.holdings["web1"].plan.vcpus[0].pin


def test_marks() -> None:
    facts = build_host(cores_per_node=4, offline=[3], isolated=[2])
    facts = evolve(facts, pcpus=tuple(evolve(one, nohz_full=one.pcpu == 2) for one in facts.pcpus))
    seen = pcpus(map_of(facts, POLICY, Ledger()))
    assert seen[2].marks == ("isolated", "nohz_full")
    assert (seen[3].use, seen[0].marks) == ("offline", ())


def test_pools_tell_promised_taken_and_foreign_pages() -> None:
    facts = no_smt()
    memory = MemorySpec(size_bytes=2 * GIB, hugepages_bytes=HUGE_2M)
    plan = ask(vm("web1", memory=memory), facts)
    node = facts.nodes[0]
    taken = evolve(facts, nodes=(evolve(node, pools=(evolve(node.pools[0], free=4096 - 600 - 100), *node.pools[1:])),))
    ledger = Ledger().reserved(Holding(plan, {(0, HUGE_2M): 600}, {0: 1 << 20}))
    told = map_of(taken, POLICY, ledger).nodes[0]
    pool = told.pools[0]
    assert (pool.held, pool.due, pool.foreign) == (1024, 424, 100)
    assert (told.guests[0].vm, told.guests[0].pages) == ("web1", 1024)
    assert told.memory_due_bytes == plan.overhead_bytes - (1 << 20)


def test_a_vm_on_pages_of_two_sizes_holds_of_both_pools() -> None:
    nodes = (
        GuestNodeSpec(frozenset({0}), 2 * GIB, frozenset({0}), HUGE_1G),
        GuestNodeSpec(frozenset({1}), GIB, frozenset({0}), HUGE_2M),
    )
    plan = ask(vm("web1", cpu=CpuSpec(vcpus=2), memory=MemorySpec(size_bytes=3 * GIB, nodes=nodes)), two_sockets())
    told = map_of(two_sockets(), POLICY, Ledger().reserved(Holding(plan))).nodes[0]
    assert {pool.page_size_bytes: (pool.held, pool.due) for pool in told.pools} == {HUGE_2M: (512, 512), HUGE_1G: (2, 2)}
    assert [(guest.page_size_bytes, guest.pages) for guest in told.guests] == [(HUGE_1G, 2), (HUGE_2M, 512)]
    assert sum(guest.base_bytes for guest in told.guests) == plan.overhead_bytes


def test_a_small_host_has_no_housekeeping_of_its_own() -> None:
    assert map_of(laptop(), POLICY, Ledger()).housekeeping == ""


@settings(max_examples=100, deadline=None)
@given(hosts(), batches())
def test_every_pcpu_stands_there_once(facts: HostFacts, batch: list[VmSpec]) -> None:
    ledger, _ = started(batch, facts)
    picture = map_of(facts, POLICY, ledger)
    listed = [one.pcpu for node in picture.nodes for cache in node.caches for core in cache.cores for one in core.pcpus]
    assert sorted(listed) == [one.pcpu for one in facts.pcpus]
    assert {name for one in pcpus(picture).values() for name in one.vms} <= set(ledger.holdings)
