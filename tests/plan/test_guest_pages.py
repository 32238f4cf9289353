"""Guest nodes on pages of their own: pools of several sizes and base memory on one host node, all counted together."""

from __future__ import annotations

from typing import Any

from qsup.bytesize import GIB, MIB
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.ledger_index import pages_due
from qsup.plan.policy import HostPolicy
from qsup.plan.reboot import plan_reboot
from qsup.plan.suggest import suggestions
from qsup.plan.vmplan import PoolGrowth
from qsup.plan.whatif import Stage
from qsup.spec.memory import BasePages, GuestNodeSpec, MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ALIASES, POLICY, ask, dedicated, refusal
from tests.plan.checker import faults_of, strays_from
from tests.plan.hosts import HUGE_1G, HUGE_2M, build_host, two_sockets, with_memory_free, with_pages

NO_GROWTH = HostPolicy(grow_hugepages=False)
Node = tuple[int, int | BasePages | None, int | None]  # size, pages, host node


def guest(*nodes: Node, hugepages: int | None = None, name: str = "db", **more: Any) -> VmSpec:
    """One vCPU in each guest node."""
    written = tuple(
        GuestNodeSpec(frozenset({at}), size, None if host is None else frozenset({host}), pages)
        for at, (size, pages, host) in enumerate(nodes)
    )
    size = sum(size for size, _, _ in nodes)
    memory = MemorySpec(size_bytes=size, hugepages_bytes=hugepages, nodes=written, **more)
    return dedicated(name, len(nodes), memory=memory)


def test_each_guest_node_has_its_pages_on_one_host_node() -> None:
    spec = guest((4 * GIB, None, 0), (3 * GIB, HUGE_2M, 0), (2 * GIB, "off", 0), hugepages=HUGE_1G)
    plan = ask(spec, two_sockets(), policy=NO_GROWTH)
    assert [(node.page_size_bytes, node.hugepages) for node in plan.guest_nodes] == [
        (HUGE_1G, True),
        (HUGE_2M, True),
        (4096, False),
    ]
    assert [node.pages for node in plan.guest_nodes] == [((0, 4),), ((0, 1536),), ()]
    assert [node.prealloc for node in plan.guest_nodes] == [True, True, False]
    base = sum(amount for node in plan.guest_nodes for _, amount in node.base_bytes)
    assert base == 2 * GIB + plan.overhead_bytes
    assert strays_from(spec, plan) == faults_of(two_sockets(), NO_GROWTH, [plan]) == []


def test_the_page_tables_of_base_pages_alone_are_large() -> None:
    huge = ask(guest((4 * GIB, HUGE_1G, 0), (4 * GIB, HUGE_1G, 0)), two_sockets())
    mixed = ask(guest((4 * GIB, HUGE_1G, 0), (4 * GIB, "off", 0)), two_sockets())
    assert mixed.overhead_bytes - huge.overhead_bytes == 16 * MIB, "16 bytes for each of 1 Mi pages"


def test_each_pool_grows_by_what_it_lacks() -> None:
    facts = with_pages(with_pages(two_sockets(), HUGE_1G, {0: 1}), HUGE_2M, {0: 512})
    plan = ask(guest((2 * GIB, HUGE_1G, 0), (2 * GIB, HUGE_2M, 0), (2 * GIB, HUGE_2M, 0)), facts)
    assert plan.pool_growth == (PoolGrowth(0, HUGE_2M, 1536), PoolGrowth(0, HUGE_1G, 1))
    assert faults_of(facts, POLICY, [plan]) == []


def crowded() -> HostFacts:
    """One node with 5 GiB of base memory beside empty pools; 512 MiB of it are the host's reserve."""
    return with_memory_free(build_host(memory_bytes=64 * GIB), {0: 5 * GIB})


def test_pools_that_grow_and_base_pages_share_one_memory() -> None:
    reserve = HostPolicy(reserved_memory_bytes=(512 * MIB,))
    fits = guest((2 * GIB, HUGE_1G, 0), (GIB, HUGE_2M, 0), (GIB, "off", 0))
    assert faults_of(crowded(), reserve, [ask(fits, crowded(), policy=reserve)]) == []
    larger = guest((2 * GIB, HUGE_1G, 0), (GIB, HUGE_2M, 0), (2 * GIB, "off", 0))
    reason = refusal(larger, crowded(), policy=reserve)["plan.guest-node-short"]
    assert reason.host_node == 0
    assert reason.needed == "1GiB on 2MiB pages and 1 guest cores", "nodes that are larger came first"


def test_a_short_pool_is_named_by_its_size_with_who_holds_it() -> None:
    facts = two_sockets()
    holder = ask(guest((6 * GIB, HUGE_1G, 0), (GIB, HUGE_2M, 0), name="web3"), facts, policy=NO_GROWTH)
    ledger = Ledger().reserved(Holding(holder))
    late = guest((3 * GIB, HUGE_1G, 0), (GIB, HUGE_2M, 0))
    reason = refusal(late, facts, ledger, policy=NO_GROWTH)["plan.guest-node-short"]
    assert reason.needed == "3GiB on 1GiB pages and 1 guest cores"
    assert reason.available == "2GiB and 12 guest cores"
    assert ("web3", "6 pages") in reason.held_by


def test_who_needs_the_rare_pages_gets_the_node_that_has_them() -> None:
    facts = with_pages(build_host(nodes=2, cores_per_node=3, pages_1g=4), HUGE_1G, {1: 0})
    nodes = (
        GuestNodeSpec(frozenset({0, 1}), 8 * GIB),
        GuestNodeSpec(frozenset({2, 3}), 4 * GIB, hugepages_bytes=HUGE_1G),
    )
    spec = dedicated("db", 4, memory=MemorySpec(size_bytes=12 * GIB, nodes=nodes))
    plan = ask(spec, facts, policy=NO_GROWTH)
    assert [node.host_nodes for node in plan.guest_nodes] == [(1,), (0,)]
    assert faults_of(facts, NO_GROWTH, [plan]) == strays_from(spec, plan) == []


def test_pages_of_one_size_never_stand_for_those_of_another() -> None:
    nodes = (
        GuestNodeSpec(frozenset({0}), GIB, frozenset({0, 1}), HUGE_2M),
        GuestNodeSpec(frozenset({1}), 2 * GIB, frozenset({0}), HUGE_1G),
    )
    plan = ask(dedicated("db", 2, memory=MemorySpec(size_bytes=3 * GIB, nodes=nodes)), two_sockets(), policy=NO_GROWTH)
    assert plan.guest_nodes[0].pages == ((0, 256), (1, 256))
    elsewhere = Holding(plan, {(0, HUGE_2M): 512}, {})  # the kernel took all from node 0
    assert pages_due(elsewhere) == {(0, HUGE_1G): 2}


def test_a_size_that_the_host_lacks_is_refused_once() -> None:
    reasons = refusal(guest((GIB, HUGE_2M, None), (65536, 65536, None)), two_sockets())
    assert reasons["plan.hugepage-size-absent"].needed == "pages of 64KiB"


def test_smaller_pages_are_suggested_for_those_guest_nodes_that_lack_them() -> None:
    spec = guest((12 * GIB, HUGE_1G, 0), (2 * GIB, HUGE_2M, 0), hugepages=HUGE_2M)
    found = suggestions(spec, two_sockets(), NO_GROWTH, Ledger(), None, ALIASES)
    texts = [one.text for one in found]
    assert 'hugepages = "2MiB" instead of "1GiB" in guest node 0' in texts
    assert all(strays_from(one.question.spec, one.plan) == [] for one in found)


def test_a_reboot_needs_the_pages_of_both_sizes() -> None:
    spec = guest((2 * GIB, HUGE_1G, 0), (2 * GIB, HUGE_2M, 1))
    reboot = plan_reboot([spec], Stage(two_sockets(), POLICY, Ledger()), {}, {})
    assert {"hugepagesz=1G", "hugepages=0:2"} <= set(reboot.lines.kernel)
    assert [line.split()[1] for line in reboot.lines.tmpfiles] == [
        "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
    ]
    assert reboot.with_lines.placed == (spec.name,)
    assert reboot.with_lines.stage.ledger.holdings[spec.name].plan.pool_growth == ()
