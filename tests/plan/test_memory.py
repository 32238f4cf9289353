"""Memory: which host nodes, which pages, what growth, and every shortage with its numbers."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from qsup.bytesize import GIB, MIB
from qsup.plan.guest_record import guest_record_of
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import PoolGrowth, VmPlan
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import GuestNodeSpec, MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ask, pins, refusal, vm, warning_codes
from tests.plan.hosts import HUGE_1G, HUGE_2M, build_host, eight_nodes, nps4, two_sockets, with_memory_free, with_pages

NO_GROWTH = HostPolicy(grow_hugepages=False)


def huge(size_bytes: int, page: int = HUGE_2M, *, vcpus: int = 2, placement: Any = "dedicated", **more: Any) -> VmSpec:
    cpu = CpuSpec(vcpus=vcpus, placement=placement)
    return vm("db", cpu=cpu, memory=MemorySpec(size_bytes=size_bytes, hugepages_bytes=page, **more))


def named(name: str, size_bytes: int) -> VmSpec:
    return vm(name, memory=MemorySpec(size_bytes=size_bytes, hugepages_bytes=HUGE_2M))


def host_nodes(plan: VmPlan) -> list[tuple[int, ...]]:
    return [node.host_nodes for node in plan.guest_nodes]


def test_one_node_that_fits_takes_all() -> None:
    plan = ask(huge(8 * GIB), two_sockets(), policy=NO_GROWTH)
    (node,) = plan.guest_nodes
    assert node.host_nodes == (0,)
    assert node.pages == ((0, 4096),)
    assert node.policy == "bind"
    assert node.prealloc
    assert node.prealloc_pcpus == {*range(8), *range(16, 24)}
    assert plan.pool_growth == ()
    assert node.base_bytes == ((0, plan.overhead_bytes),)


def test_a_node_with_ready_pages_is_preferred_to_one_that_must_grow() -> None:
    facts = with_pages(two_sockets(), HUGE_2M, {0: 100})
    plan = ask(huge(8 * GIB), facts)
    assert host_nodes(plan) == [(1,)]
    assert plan.pool_growth == ()


def test_a_vm_larger_than_a_node_gets_a_guest_node_for_each_host_node() -> None:
    plan = ask(huge(20 * GIB, vcpus=4), two_sockets(), policy=NO_GROWTH)
    assert host_nodes(plan) == [(0,), (1,)]
    assert [node.vcpus for node in plan.guest_nodes] == [(0, 1), (2, 3)]
    assert [node.size_bytes for node in plan.guest_nodes] == [10 * GIB, 10 * GIB]
    assert [node.distances for node in plan.guest_nodes] == [(10, 21), (21, 10)]
    assert (plan.sockets, plan.cores, plan.threads) == (2, 2, 1)
    assert all(pin[0] % 16 < 8 for pin in pins(plan)[:2])
    assert all(pin[0] % 16 >= 8 for pin in pins(plan)[2:])


def test_of_several_nodes_the_nearest_are_taken() -> None:
    facts = with_pages(eight_nodes(4), HUGE_2M, {0: 0, 1: 0, 2: 0, 4: 0})
    plan = ask(huge(300 * GIB, vcpus=4), facts, policy=NO_GROWTH)
    assert host_nodes(plan) == [(5,), (6,)]


def test_vcpus_that_need_two_nodes_take_the_memory_along() -> None:
    plan = ask(huge(2 * GIB, vcpus=20), two_sockets())
    assert host_nodes(plan) == [(0,), (1,)]
    assert sorted(len(node.vcpus) for node in plan.guest_nodes) == [10, 10]


def test_uneven_room_is_used_to_the_last_page() -> None:
    facts = with_pages(two_sockets(), HUGE_2M, {0: 700, 1: 324})
    plan = ask(huge(2 * GIB), facts, policy=NO_GROWTH)
    assert [node.pages for node in plan.guest_nodes] == [((0, 700),), ((1, 324),)]


def test_a_short_pool_grows_from_free_memory() -> None:
    facts = build_host(cores_per_node=4, memory_bytes=16 * GIB, pages_2m=100)
    assert ask(huge(GIB), facts).pool_growth == (PoolGrowth(0, HUGE_2M, 412),)


def test_without_growth_it_is_refused_with_numbers_and_the_way_out() -> None:
    facts = build_host(cores_per_node=4, memory_bytes=16 * GIB, pages_2m=100)
    facts = evolve(facts, nodes=(evolve(facts.nodes[0], pools=(evolve(facts.nodes[0].pools[0], free=60),)),))
    reason = refusal(huge(GIB), facts, policy=NO_GROWTH)["plan.hugepages-short"]
    assert (reason.needed, reason.available, reason.host_node) == ("512 pages of 2MiB", "60 pages of 2MiB", 0)
    assert reason.held_by == (("foreign", "40 pages"),)
    assert reason.hint is not None
    assert "grow_hugepages = true" in reason.hint


def test_growth_that_would_not_help_is_not_offered() -> None:
    facts = build_host(cores_per_node=4, memory_bytes=2 * GIB)
    reason = refusal(huge(8 * GIB), facts)["plan.hugepages-short"]
    assert reason.hint is not None
    assert "grow" not in reason.hint


def test_promised_pages_are_kept_back_until_they_are_taken() -> None:
    facts = build_host(cores_per_node=8, memory_bytes=16 * GIB, pages_2m=1000)
    first = Holding(ask(evolve(huge(GIB), name="one"), facts, policy=NO_GROWTH))
    reason = refusal(huge(GIB), facts, Ledger().reserved(first), policy=NO_GROWTH)["plan.hugepages-short"]
    assert reason.available == "488 pages of 2MiB"
    assert reason.held_by == (("one", "512 pages"),)
    taken = with_pages(facts, HUGE_2M, {0: 600})
    ledger = Ledger().reserved(evolve(first, pages_taken={(0, HUGE_2M): 512}))
    assert ask(huge(GIB), taken, ledger, policy=NO_GROWTH).guest_nodes[0].pages == ((0, 512),)


def test_growth_promised_to_another_is_not_promised_again() -> None:
    facts = build_host(cores_per_node=8, memory_bytes=4 * GIB)
    first = Holding(ask(evolve(huge(2 * GIB), name="one"), facts))
    assert "plan.hugepages-short" in refusal(huge(2 * GIB), facts, Ledger().reserved(first))


def test_a_pool_grows_for_a_vm_by_what_was_planned_though_others_left() -> None:
    facts = with_memory_free(with_pages(build_host(), HUGE_2M, {0: 512}), {0: 4 * GIB})
    first, grown = ask(named("first", GIB), facts), named("grown", 2 * GIB)
    ledger = Ledger().reserved(Holding(first))
    ledger = ledger.reserved(Holding(ask(grown, facts, ledger))).released("first")
    assert ledger.holdings["grown"].plan.pool_growth == (PoolGrowth(0, HUGE_2M, 1024),)
    base = vm("late", memory=MemorySpec(size_bytes=3 * GIB // 2))
    assert refusal(base, facts, ledger)["plan.memory-short"].available == "1463MiB in base pages"
    assert ask(named("late", GIB), facts, ledger).pool_growth == (), "the pages of the one that left are there"
    running = ledger.reserved(Holding(ledger.holdings["grown"].plan, {(0, HUGE_2M): 1024}, {0: 80 * MIB}))
    after = with_memory_free(with_pages(facts, HUGE_2M, {0: 512}), {0: 2 * GIB})
    assert ask(named("late", GIB), after, running).pool_growth == (), "it has grown: nothing is due any more"


def test_grown_pages_that_nobody_has_touched_yet_are_not_counted_twice() -> None:
    facts = build_host(cores_per_node=8, memory_bytes=8 * GIB)
    holding = Holding(ask(named("starting", GIB), facts))
    assert holding.plan.pool_growth == (PoolGrowth(0, HUGE_2M, 512),)
    grown = Ledger().reserved(evolve(holding, grown=True))
    for pages in (0, 200, 512):  # the kernel adds them one by one
        now = with_memory_free(with_pages(facts, HUGE_2M, {0: pages}), {0: 7 * GIB - pages * HUGE_2M})
        assert ask(named("late", GIB), now, grown).pool_growth == (PoolGrowth(0, HUGE_2M, 512),)


def test_pages_taken_from_another_node_than_planned_are_not_due_any_more() -> None:
    facts = with_pages(two_sockets(), HUGE_2M, {0: 512, 1: 512})
    first = Holding(ask(evolve(huge(GIB), name="one"), facts, policy=NO_GROWTH), pages_taken={(1, HUGE_2M): 512})
    now = with_pages(facts, HUGE_2M, {0: 512, 1: 0})
    assert host_nodes(ask(huge(GIB), now, Ledger().reserved(first), policy=NO_GROWTH)) == [(0,)]


def test_a_page_size_that_the_host_lacks_is_refused() -> None:
    facts = evolve(two_sockets(), nodes=tuple(evolve(node, pools=node.pools[:1]) for node in two_sockets().nodes))
    assert refusal(huge(2 * GIB, HUGE_1G), facts)["plan.hugepage-size-absent"].available == "pages of 2MiB"


def test_gigabyte_pages_are_planned() -> None:
    assert ask(huge(2 * GIB, HUGE_1G), two_sockets()).guest_nodes[0].pages == ((0, 2),)


def test_base_pages_leave_the_reserve_and_the_overhead() -> None:
    facts = with_memory_free(build_host(cores_per_node=4), {0: 2 * GIB})
    spec = vm(memory=MemorySpec(size_bytes=2 * GIB - 512 * MIB))
    reason = refusal(spec, facts)["plan.memory-short"]
    assert reason.available == "1536MiB in base pages"
    assert ("host", "512MiB reserve") in reason.held_by
    plan = ask(vm(memory=MemorySpec(size_bytes=GIB)), facts)
    assert plan.guest_nodes[0].base_bytes == ((0, GIB + plan.overhead_bytes),)
    assert not plan.guest_nodes[0].prealloc


def test_base_memory_promised_to_others_is_kept_back() -> None:
    facts = with_memory_free(build_host(cores_per_node=4), {0: 3 * GIB})
    one = Holding(ask(vm("one", memory=MemorySpec(size_bytes=GIB)), facts))
    spec = vm("two", memory=MemorySpec(size_bytes=GIB + 400 * MIB))
    assert "plan.memory-short" in refusal(spec, facts, Ledger().reserved(one))
    assert ask(spec, facts).memory_bytes == GIB + 400 * MIB


def test_interleave_spreads_one_guest_node_over_all() -> None:
    plan = ask(huge(4 * GIB, policy="interleave"), two_sockets())
    (node,) = plan.guest_nodes
    assert (node.host_nodes, node.policy) == ((0, 1), "interleave")
    assert node.pages == ((0, 1024), (1, 1024))


def test_preferred_falls_over_to_other_nodes() -> None:
    facts = with_pages(two_sockets(), HUGE_2M, {0: 0, 1: 10})
    plan = ask(huge(GIB, vcpus=1, policy="preferred"), with_memory_free(facts, {0: 2 * GIB, 1: 900 * MIB}))
    assert plan.guest_nodes[0].policy == "preferred"


def test_host_nodes_restrict_auto() -> None:
    spec = vm(memory=MemorySpec(size_bytes=GIB, host_nodes=frozenset({1})))
    assert host_nodes(ask(spec, two_sockets())) == [(1,)]
    wrong = vm(memory=MemorySpec(size_bytes=GIB, host_nodes=frozenset({7})))
    assert refusal(wrong, two_sockets())["plan.host-node-absent"].available == "host nodes 0, 1"


def test_written_guest_nodes_go_where_they_are_bound() -> None:
    nodes = (
        GuestNodeSpec(frozenset({0, 1}), 2 * GIB, frozenset({1})),
        GuestNodeSpec(frozenset({2, 3}), 2 * GIB, frozenset({0})),
    )
    plan = ask(huge(4 * GIB, vcpus=4, nodes=nodes), two_sockets())
    assert host_nodes(plan) == [(1,), (0,)]
    assert pins(plan)[2:] == [[1], [17]]
    assert pins(plan)[:2] == [[8], [24]]


def test_written_guest_nodes_without_host_nodes_get_different_ones() -> None:
    nodes = (GuestNodeSpec(frozenset({0}), GIB), GuestNodeSpec(frozenset({1}), GIB))
    assert host_nodes(ask(huge(2 * GIB, nodes=nodes), two_sockets())) == [(0,), (1,)]
    one_node = build_host(cores_per_node=4)
    plan = ask(huge(2 * GIB, nodes=nodes), one_node)
    assert host_nodes(plan) == [(0,), (0,)]
    assert plan.guest_nodes[0].distances == (10, 11)


def test_a_written_guest_node_that_does_not_fit_says_which() -> None:
    nodes = (
        GuestNodeSpec(frozenset({0}), GIB, frozenset({0})),
        GuestNodeSpec(frozenset({1}), 200 * GIB, frozenset({1})),
    )
    reason = refusal(huge(201 * GIB, nodes=nodes), two_sockets())["plan.guest-node-short"]
    assert reason.host_node == 1
    assert reason.message.startswith("guest node 1 needs 200GiB")


def test_vcpus_of_no_guest_node_are_refused() -> None:
    nodes = (GuestNodeSpec(frozenset({0}), 2 * GIB),)
    assert "plan.guest-node-vcpus" in refusal(huge(2 * GIB, nodes=nodes), two_sockets())


def test_the_last_host_node_is_taken_again() -> None:
    spec = vm(memory=MemorySpec(size_bytes=GIB, host_nodes=frozenset({1})))
    record = guest_record_of(ask(spec, two_sockets()))
    assert host_nodes(ask(vm(), two_sockets())) == [(0,)]
    assert host_nodes(ask(vm(), two_sockets(), record=record)) == [(1,)]


def test_a_pinned_vm_gets_its_memory_where_its_pins_are() -> None:
    cpu = CpuSpec(vcpus=2, placement="pinned", pin=(frozenset({8}), frozenset({9})))
    assert host_nodes(ask(vm(cpu=cpu), two_sockets())) == [(1,)]
    across = CpuSpec(vcpus=2, placement="pinned", pin=(frozenset({1}), frozenset({9})))
    plan = ask(vm(cpu=across), two_sockets())
    assert host_nodes(plan) == [(0,), (1,)]
    straddling = CpuSpec(vcpus=1, placement="pinned", pin=(frozenset({1, 9}),))
    assert warning_codes(ask(vm(cpu=straddling), two_sockets())) == ["plan.vcpus-remote"]


def test_vcpus_follow_to_the_nearest_node_where_a_node_has_no_pcpus() -> None:
    base = nps4()
    facts = evolve(base, pcpus=tuple(one for one in base.pcpus if one.host_node != 3))
    only_there = with_pages(facts, HUGE_2M, {0: 0, 1: 0, 2: 0})
    plan = ask(huge(2 * GIB), only_there, policy=NO_GROWTH)
    assert host_nodes(plan) == [(3,)]
    assert warning_codes(plan) == ["plan.vcpus-remote"]
    assert plan.guest_nodes[0].prealloc_pcpus


def test_memory_that_may_not_be_bound_is_not() -> None:
    facts = evolve(two_sockets(), may_bind_memory=False)
    plan = ask(vm(), facts)
    assert (plan.guest_nodes[0].host_nodes, plan.guest_nodes[0].policy) == ((), "default")
    assert warning_codes(plan) == ["plan.memory-unbound"]
    bound = vm(memory=MemorySpec(size_bytes=GIB, host_nodes=frozenset({1})))
    assert "plan.binding-not-permitted" in refusal(bound, facts)


def test_a_size_that_is_no_whole_number_of_pages_is_refused() -> None:
    assert "plan.memory-not-in-pages" in refusal(huge(GIB + MIB), two_sockets())


def test_a_running_vm_counts_its_own_holdings_as_available() -> None:
    facts = build_host(cores_per_node=4, memory_bytes=4 * GIB, pages_2m=512)
    plan = ask(huge(GIB), facts, policy=NO_GROWTH)
    running = Ledger().reserved(Holding(plan, pages_taken={(0, HUGE_2M): 512}))
    assert ask(huge(GIB), with_pages(facts, HUGE_2M, {0: 0}), running, policy=NO_GROWTH) == plan


def test_hosts_of_more_than_eight_nodes_are_searched_by_neighbourhood() -> None:
    facts = build_host(
        nodes=10,
        cores_per_node=2,
        pages_2m=512,
        distances={(one, other): 10 + abs(one - other) for one in range(10) for other in range(10)},
    )
    plan = ask(huge(2 * GIB, vcpus=4), with_pages(facts, HUGE_2M, {0: 0, 5: 0}), policy=NO_GROWTH)
    assert host_nodes(plan) == [(1,), (2,)]


def test_written_guest_nodes_of_a_shared_vm_need_a_pool_too() -> None:
    facts = build_host(nodes=2, cores_per_node=1, offline=(1,))
    ledger = Ledger().reserved(Holding(ask(huge(GIB, vcpus=1), facts)))
    nodes = (GuestNodeSpec(frozenset({0}), GIB), GuestNodeSpec(frozenset({1}), GIB))
    spec = huge(2 * GIB, placement="shared", nodes=nodes)
    assert refusal(evolve(spec, name="web"), facts, ledger)["plan.shared-pool-empty"].held_by == (("db", "pCPU 0"),)


def test_asked_host_nodes_hold_vcpus_apart_from_memory_if_nothing_else_fits() -> None:
    facts = with_pages(build_host(nodes=3, cores_per_node=3, cores_per_l3=3), HUGE_1G, {0: 1, 1: 0, 2: 0})
    plan = ask(huge(GIB, HUGE_1G, vcpus=5, host_nodes=frozenset({0, 1})), facts, policy=NO_GROWTH)
    assert host_nodes(plan) == [(0,)]
    assert pins(plan) == [[1], [2], [3], [4], [5]]
    assert warning_codes(plan) == ["plan.vcpus-remote"]


def test_of_nodes_away_from_the_pcpus_the_nearest_memory_is_taken() -> None:
    far = {(one, other): 24 if 2 in (one, other) else 12 for one in range(3) for other in range(3)}
    base = build_host(nodes=3, cores_per_node=4, distances=far)
    only_two = evolve(base, pcpus=tuple(one for one in base.pcpus if one.host_node < 2))
    facts = with_memory_free(only_two, {0: 4 * GIB, 1: 0})
    plan = ask(huge(GIB, vcpus=5), facts)
    assert host_nodes(plan) == [(0,)]
    assert warning_codes(plan) == ["plan.vcpus-remote"]


def test_a_guest_core_across_guest_nodes_is_refused() -> None:
    nodes = (GuestNodeSpec(frozenset({0}), GIB), GuestNodeSpec(frozenset({1}), GIB))
    spec = vm(cpu=CpuSpec(vcpus=2, threads=2), memory=MemorySpec(size_bytes=2 * GIB, nodes=nodes))
    assert "plan.guest-node-splits-core" in refusal(spec, two_sockets())


def test_a_preferred_node_that_gives_nothing_does_not_draw_the_vcpus() -> None:
    facts = build_host(nodes=3, cores_per_node=1, memory_bytes=2 * GIB, offline=(0,))
    policy = HostPolicy(reserved_memory_bytes=(2 * GIB, 0), overcommit=1)
    memory = MemorySpec(size_bytes=3 * GIB, policy="preferred")
    core = CpuSpec(vcpus=2, threads=2)
    assert "plan.no-node-set" in refusal(vm(cpu=core, memory=memory), facts, policy=policy), "a pool pCPU carries one"
    guest = GuestNodeSpec(frozenset({0, 1}), 3 * GIB, frozenset({0}))
    written = evolve(memory, nodes=(guest,))
    assert "plan.guest-node-short" in refusal(vm(cpu=core, memory=written), facts, policy=policy)
    more = evolve(policy, overcommit=2)
    assert host_nodes(ask(vm(cpu=core, memory=written), facts, policy=more)) == [(1,)]


def test_written_guest_nodes_go_where_pcpus_are() -> None:
    facts = build_host(nodes=3, cores_per_node=2, offline=(4, 5))
    node = GuestNodeSpec(frozenset({0, 1}), GIB)
    plan = ask(vm(cpu=CpuSpec(vcpus=2, placement="dedicated"), memory=MemorySpec(size_bytes=GIB, nodes=(node,))), facts)
    assert host_nodes(plan) == [(1,)], "node 2 has memory only"
    both = MemorySpec(size_bytes=2 * GIB, nodes=(node, GuestNodeSpec(frozenset(), GIB)))
    spec = vm(cpu=CpuSpec(vcpus=2, placement="dedicated"), memory=both)
    assert host_nodes(ask(spec, facts)) == [(1,), (2,)], "a guest node without vCPUs may go there"
