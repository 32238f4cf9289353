"""What a VM and the settings may ask of placement beside the class of its vCPUs, one table a topic."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from qsup.bytesize import GIB, MIB
from qsup.plan.guest_record import guest_record_of
from qsup.plan.host_facts import HostFacts, ImageFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.spec.cpu import CpuSpec
from qsup.spec.disk import DiskSpec
from qsup.spec.memory import GuestNodeSpec, MemorySpec
from qsup.spec.nic import NicSpec
from tests.plan.asking import POLICY, ask, dedicated, pins, refusal, settle, started, vm, warning_codes
from tests.plan.checker import faults_of
from tests.plan.hosts import HUGE_1G, HUGE_2M, build_host, no_smt, two_sockets, with_bridge, with_images, with_pages

SCATTERED = build_host(cores_per_node=4, threads=2, offline=(5, 6))  # core 3 alone has both siblings; core 0 is housekeeping


def memory_on(*nodes: int, size_bytes: int = GIB) -> MemorySpec:
    return MemorySpec(size_bytes=size_bytes, host_nodes=frozenset(nodes))


def test_smt_prefer_takes_single_pcpus_and_says_so() -> None:
    plan = ask(dedicated("db", 4, threads=2), SCATTERED)
    assert pins(plan) == [[3], [7], [1], [2]]
    assert warning_codes(plan) == ["plan.siblings-split"]


def test_smt_require_refuses_instead() -> None:
    reason = refusal(dedicated("db", 4, threads=2, smt="require"), SCATTERED)["plan.pcpus-short"]
    assert reason.needed == "2 × 2 free siblings of one host core"
    assert pins(ask(dedicated("db", 2, threads=2, smt="require"), SCATTERED)) == [[3], [7]]


def test_smt_require_is_refused_on_a_host_without() -> None:
    reason = refusal(dedicated("db", 2, threads=2, smt="require"), no_smt())["plan.smt-absent"]
    assert reason.available == "no SMT"


def test_smt_isolate_is_isolated_placement() -> None:
    by_smt = ask(vm("rt", cpu=CpuSpec(vcpus=2, placement="dedicated", smt="isolate")), two_sockets())
    assert by_smt == ask(vm("rt", cpu=CpuSpec(vcpus=2, placement="isolated")), two_sockets())
    assert by_smt.placement == "isolated"


def test_split_siblings_stay_where_they_were() -> None:
    plan = ask(dedicated("db", 4, threads=2), SCATTERED)
    whole = build_host(cores_per_node=4, threads=2)
    again = ask(dedicated("db", 4, threads=2), whole, record=guest_record_of(plan))
    assert pins(again) == pins(plan), "a running VM keeps its pCPUs though siblings are free now"


def test_some_vcpus_of_a_dedicated_vm_share() -> None:
    spec = vm("mixed", cpu=CpuSpec(vcpus=4, placement="dedicated", shared_vcpus=frozenset({2, 3})))
    plan = ask(spec, no_smt())
    assert pins(plan) == [[1], [2], [3, 4, 5, 6, 7], [3, 4, 5, 6, 7]]
    assert plan.floating == {2, 3}
    ledger = Ledger().reserved(Holding(plan))
    assert ledger.index.exclusive.keys() == {1, 2}
    late = ask(dedicated("late", 3), no_smt(), ledger)
    ledger = ledger.reserved(Holding(late))
    (moved,) = shared_repins(no_smt(), POLICY, ledger)
    assert pins(moved) == [[1], [2], [6, 7], [6, 7]], "only what floats follows the pool"


def test_a_mixed_vm_leaves_its_own_floaters_a_pcpu() -> None:
    spec = vm("mixed", cpu=CpuSpec(vcpus=8, placement="dedicated", shared_vcpus=frozenset({7})))
    assert "plan.pcpus-short" in refusal(spec, no_smt())
    fits = vm("mixed", cpu=CpuSpec(vcpus=7, placement="dedicated", shared_vcpus=frozenset({6})))
    assert pins(ask(fits, no_smt()))[6] == [7]


def test_a_mixed_vm_over_two_nodes_floats_beside_its_memory() -> None:
    cpu = CpuSpec(vcpus=4, placement="dedicated", shared_vcpus=frozenset({2, 3}))
    facts = build_host(nodes=2, memory_bytes=3 * GIB)
    plan = ask(vm("mixed", cpu=cpu, memory=MemorySpec(size_bytes=4 * GIB)), facts)
    assert [node.vcpus for node in plan.guest_nodes] == [(0, 2), (1, 3)]
    assert pins(plan) == [[1], [4], [2, 3], [5, 6, 7]]
    assert warning_codes(plan) == []


def support_vm(**cpu: str) -> CpuSpec:
    return CpuSpec(vcpus=2, placement="dedicated", **cpu)  # type: ignore[arg-type]


def with_devices(facts: HostFacts, *, bridge_node: int | None = None, image_node: int | None = None) -> HostFacts:
    images = [ImageFacts(f"/srv/{number}.raw", "raw", host_node=image_node) for number in range(2)]
    return with_bridge(with_images(facts, *images), host_node=bridge_node)


DEVICES: dict[str, Any] = {
    "disks": tuple(DiskSpec(f"/srv/{number}.raw", "raw") for number in range(2)),
    "nics": (NicSpec("br0"),),
}


def test_other_threads_may_have_their_own_pcpus() -> None:
    facts = with_devices(no_smt())
    spec = vm("db", cpu=support_vm(emulator="own", iothreads="own", vhost="own"), **DEVICES)
    plan = ask(spec, facts)
    assert pins(plan) == [[1], [2]]
    assert plan.emulator == {3}
    assert [iothread.pin for iothread in plan.iothreads] == [{4}, {5}]
    assert plan.nics[0].worker_pin == {6}
    assert plan.support_pcpus == {3, 4, 5, 6}
    ledger = Ledger().reserved(Holding(plan))
    assert pins(ask(vm("web"), facts, ledger)) == [[7]], "nobody else comes there"
    assert shared_repins(facts, POLICY, ledger) == ()


def test_own_pcpus_that_are_missing_are_named() -> None:
    spec = vm("db", cpu=evolve(support_vm(iothreads="own"), vcpus=6), **DEVICES)
    reason = refusal(spec, with_devices(no_smt()))["plan.support-short"]
    assert reason.message == "the iothread io-disk1 asks for a pCPU of its own, and this host has none left"


def test_other_threads_may_run_beside_the_vcpus() -> None:
    facts = with_devices(two_sockets())
    spec = vm("db", cpu=support_vm(emulator="beside", iothreads="beside"), memory=memory_on(1), **DEVICES)
    plan = ask(spec, facts)
    assert pins(plan) == [[8], [24]]
    assert plan.emulator == plan.iothreads[0].pin == {*range(9, 16), *range(25, 32)}
    assert plan.nics[0].worker_pin == {0, 16}, "housekeeping, as nothing else was said"
    ledger = settle(Ledger(), plan, facts)
    ledger = settle(ledger, ask(dedicated("late", 4, memory=memory_on(1)), facts, ledger), facts)
    followed = ledger.holdings["db"].plan
    assert followed.emulator == {*range(11, 16), *range(27, 32)}, "they follow the pool when somebody takes pCPUs from it"
    assert faults_of(facts, POLICY, [holding.plan for holding in ledger.holdings.values()]) == []


def test_beside_is_housekeeping_where_the_pool_is_empty() -> None:
    facts = with_devices(no_smt())
    plan = ask(vm("db", cpu=evolve(support_vm(emulator="beside"), vcpus=7), **DEVICES), facts)
    assert plan.emulator == {0}


def two_node_memory(vcpus: int) -> MemorySpec:
    half = vcpus // 2
    nodes = (
        GuestNodeSpec(frozenset(range(half)), GIB, frozenset({0})),
        GuestNodeSpec(frozenset(range(half, vcpus)), GIB, frozenset({1})),
    )
    return MemorySpec(size_bytes=2 * GIB, nodes=nodes)


HOUSEKEEPING_ON_BOTH = HostPolicy(housekeeping=frozenset({0, 8}))


def test_the_disks_of_a_guest_of_two_nodes_take_turns() -> None:
    plan = ask(
        vm("db", cpu=support_vm(), memory=two_node_memory(2), **DEVICES),
        with_devices(two_sockets()),
        policy=HOUSEKEEPING_ON_BOTH,
    )
    assert [iothread.pin for iothread in plan.iothreads] == [{0}, {8}]
    assert [iothread.host_nodes for iothread in plan.iothreads] == [(0,), (1,)]


def test_a_disk_is_served_on_the_node_of_its_hardware() -> None:
    facts = with_devices(two_sockets(), image_node=1, bridge_node=1)
    plan = ask(vm("db", cpu=support_vm(), memory=two_node_memory(2), **DEVICES), facts, policy=HOUSEKEEPING_ON_BOTH)
    assert [iothread.pin for iothread in plan.iothreads] == [{8}, {8}]
    assert plan.nics[0].worker_pin == {8}
    assert plan.nics[0].host_nodes == (1,)
    assert shared_repins(facts, HOUSEKEEPING_ON_BOTH, Ledger().reserved(Holding(plan))) == ()


def test_queues_are_served_on_the_node_of_their_vcpu_where_qemu_can() -> None:
    facts = with_devices(two_sockets())
    spec = vm("db", cpu=evolve(support_vm(), vcpus=4), memory=two_node_memory(4), **DEVICES)
    plan = ask(spec, facts, policy=HOUSEKEEPING_ON_BOTH, disk_queue_threads=True)
    assert [one.iothread_id for one in plan.iothreads] == ["io-disk0.0", "io-disk0.1", "io-disk1.0", "io-disk1.1"]
    assert [one.pin for one in plan.iothreads] == [{0}, {8}, {0}, {8}]
    assert [(one.iothread_id, one.queues) for one in plan.disks[0].queue_threads] == [
        ("io-disk0.0", (0, 1)),
        ("io-disk0.1", (2, 3)),
    ]
    small = ask(vm("one", cpu=support_vm(), **DEVICES), facts, disk_queue_threads=True)
    assert [one.iothread_id for one in small.iothreads] == ["io-disk0", "io-disk1"], "one node needs no sharing out"


def test_memory_goes_where_the_hardware_is_when_all_else_is_equal() -> None:
    spec = vm("db", cpu=support_vm(), nics=(NicSpec("br0"),))
    assert ask(spec, with_devices(two_sockets(), bridge_node=1)).guest_nodes[0].host_nodes == (1,)
    assert ask(spec, with_devices(two_sockets(), bridge_node=0)).guest_nodes[0].host_nodes == (0,)


def test_pack_takes_the_fullest_node_and_spread_the_emptiest() -> None:
    facts = two_sockets()
    ledger = settle(Ledger(), ask(dedicated("one", 4, memory=memory_on(1)), facts), facts)
    assert ask(dedicated("two", 2), facts, ledger).guest_nodes[0].host_nodes == (1,)
    spread = HostPolicy(strategy="spread")
    assert ask(dedicated("two", 2), facts, ledger, policy=spread).guest_nodes[0].host_nodes == (0,)


def test_spread_takes_the_emptiest_l3_group() -> None:
    facts = build_host(cores_per_node=12, cores_per_l3=4)
    ledger = settle(Ledger(), ask(dedicated("one", 2), facts), facts)
    assert pins(ledger.holdings["one"].plan) == [[1], [2]]
    assert pins(ask(dedicated("two", 1), facts, ledger)) == [[3]]
    assert pins(ask(dedicated("two", 1), facts, ledger, policy=HostPolicy(strategy="spread"))) == [[4]]


def test_overcommit_bounds_the_shared_vcpus_of_a_node() -> None:
    policy = HostPolicy(overcommit=2)
    ledger, refused = started((vm(f"vm{number}", cpu=CpuSpec(vcpus=5)) for number in range(3)), no_smt(), policy=policy)
    assert len(ledger.holdings) == 2
    (reason,) = refused["vm2"].reasons
    assert (reason.code, reason.available) == ("plan.pool-crowded", "4 shared vCPUs")
    assert dict(reason.held_by) == {"vm0": "5 shared vCPUs", "vm1": "5 shared vCPUs"}


def test_a_dedicated_vm_leaves_the_pool_what_overcommit_needs() -> None:
    policy = HostPolicy(overcommit=2)
    ledger, _ = started([vm("web", cpu=CpuSpec(vcpus=6))], no_smt(), policy=policy)
    assert "plan.pcpus-short" in refusal(dedicated("db", 5), no_smt(), ledger, policy=policy)
    assert len(ask(dedicated("db", 4), no_smt(), ledger, policy=policy).vcpus) == 4


def test_the_settings_keep_vms_off_host_nodes() -> None:
    policy = HostPolicy(host_nodes=frozenset({1}))
    plan = ask(dedicated("db", 2), two_sockets(), policy=policy)
    assert plan.guest_nodes[0].host_nodes == (1,)
    assert pins(plan) == [[8], [24]]
    spec = dedicated("db", 2, memory=memory_on(0))
    assert refusal(spec, two_sockets(), policy=policy)["plan.host-node-barred"].available == "host nodes 1"
    nowhere = HostPolicy(host_nodes=frozenset({7}))
    assert "plan.no-node-allowed" in refusal(vm(), two_sockets(), policy=nowhere)


def test_pages_and_memory_are_reserved_per_node() -> None:
    facts = with_pages(with_pages(two_sockets(), HUGE_2M, {0: 512, 1: 512}), HUGE_1G, {0: 2, 1: 2})
    spec = vm(memory=MemorySpec(size_bytes=GIB, hugepages_bytes=HUGE_2M))
    policy = HostPolicy(grow_hugepages=False, reserved_2mib_pages=(1, 0))
    assert ask(spec, facts, policy=policy).guest_nodes[0].host_nodes == (1,)
    giant = vm(memory=MemorySpec(size_bytes=2 * GIB, hugepages_bytes=HUGE_1G))
    policy = HostPolicy(grow_hugepages=False, reserved_1gib_pages=(0, 1))
    assert ask(giant, facts, policy=policy).guest_nodes[0].host_nodes == (0,)
    policy = HostPolicy(reserved_memory_bytes=(64 * GIB, 512 * MIB))
    assert ask(vm(), facts, policy=policy).guest_nodes[0].host_nodes == (1,)
