"""vCPUs: dedicated, isolated, shared, pinned; what each gets and when it is refused."""

from __future__ import annotations

from attrs import evolve

from qsup.bytesize import GIB
from qsup.plan.guest_record import guest_record_of
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ask, dedicated, pins, refusal, settle, started, vm, warning_codes
from tests.plan.hosts import build_host, laptop, no_smt, nps4, two_sockets


def pinned(name: str, *sets: set[int], emulator: set[int] | None = None) -> VmSpec:
    return vm(
        name,
        cpu=CpuSpec(
            vcpus=len(sets),
            placement="pinned",
            pin=tuple(frozenset(one) for one in sets),
            emulator=None if emulator is None else frozenset(emulator),
        ),
    )


def test_dedicated_guest_siblings_lie_on_host_siblings() -> None:
    plan = ask(dedicated("db", 4, threads=2), two_sockets())
    assert pins(plan) == [[1], [17], [2], [18]]
    assert plan.emulator == {0, 16}
    assert (plan.sockets, plan.cores, plan.threads) == (1, 2, 2)


def test_dedicated_pcpus_are_never_given_twice_and_housekeeping_never() -> None:
    ledger, refused = started((dedicated(f"vm{number}", 6) for number in range(6)), two_sockets())
    owned = [pcpu for holding in ledger.holdings.values() for pin in pins(holding.plan) for pcpu in pin]
    assert len(owned) == len(set(owned)) == 30
    assert not {0, 16} & set(owned)
    assert list(refused) == ["vm5"]


def test_one_more_dedicated_vm_is_refused_with_who_holds_what() -> None:
    ledger, _ = started([dedicated("big0", 16), dedicated("big1", 12)], two_sockets())
    reasons = refusal(dedicated("late", 4, threads=2, smt="require"), two_sockets(), ledger)
    reason = reasons["plan.pcpus-short"]
    assert reason.host_node == 0
    assert reason.needed == "2 × 2 free siblings of one host core"
    assert reason.available == "1 × 2 free siblings of one host core"
    assert ("housekeeping", "pCPUs 0,16") in reason.held_by
    assert ("big1", "pCPUs 1-6,17-22") in reason.held_by


def test_dedicated_keeps_to_one_l3_group_where_one_suffices() -> None:
    plan = ask(dedicated("db", 4, threads=2), nps4())
    groups = {facts.pcpu: facts.l3 for facts in nps4().pcpus}
    assert len({groups[pcpu] for pin in pins(plan) for pcpu in pin}) == 1


def test_dedicated_prefers_isolated_pcpus() -> None:
    facts = build_host(cores_per_node=8, isolated=(4, 5, 6, 7))
    assert pins(ask(dedicated("rt", 2), facts)) == [[4], [5]]


def test_isolated_takes_whole_cores() -> None:
    plan = ask(vm("rt", cpu=CpuSpec(vcpus=2, placement="isolated")), two_sockets())
    assert pins(plan) == [[1], [2]]
    assert plan.emptied == {17, 18}
    ledger = Ledger().reserved(Holding(plan))
    assert not {17, 18} & {pcpu for pin in pins(ask(dedicated("db", 4), two_sockets(), ledger)) for pcpu in pin}


def test_guest_smt_on_a_host_without_is_a_warning() -> None:
    plan = ask(dedicated("db", 4, threads=2), no_smt())
    assert warning_codes(plan) == ["plan.smt-absent"]
    assert pins(plan) == [[1], [2], [3], [4]]
    assert plan.threads == 2


def test_shared_floats_over_the_pool_of_its_node() -> None:
    plan = ask(vm(cpu=CpuSpec(vcpus=3)), two_sockets())
    assert pins(plan) == [sorted({*range(1, 8), *range(17, 24)})] * 3


def test_shared_vms_spread_over_the_nodes() -> None:
    ledger, _ = started((vm(f"vm{number}") for number in range(4)), two_sockets())
    nodes = sorted(holding.plan.guest_nodes[0].host_nodes for holding in ledger.holdings.values())
    assert nodes == [(0,), (0,), (1,), (1,)]


def test_the_pool_shrinks_when_a_dedicated_vm_starts_and_grows_when_it_stops() -> None:
    facts = no_smt()
    ledger = Ledger().reserved(Holding(ask(vm("web"), facts)))
    full = pins(ledger.holdings["web"].plan)
    assert full == [[1, 2, 3, 4, 5, 6, 7]]
    ledger = ledger.reserved(Holding(ask(dedicated("db", 3), facts, ledger)))
    (shrunk,) = shared_repins(facts, HostPolicy(), ledger)
    assert pins(shrunk) == [[4, 5, 6, 7]]
    ledger = ledger.reserved(Holding(shrunk)).released("db")
    (grown,) = shared_repins(facts, HostPolicy(), ledger)
    assert pins(grown) == full


def test_a_dedicated_vm_leaves_the_shared_pool_a_pcpu() -> None:
    facts = no_smt()
    ledger = Ledger().reserved(Holding(ask(vm("web"), facts)))
    reason = refusal(dedicated("db", 7), facts, ledger)["plan.pcpus-short"]
    assert ("shared pool", "pCPUs 1-7") in reason.held_by
    assert len(ask(dedicated("db", 6), facts, ledger).vcpus) == 6


def test_shared_is_refused_where_dedicated_vms_own_everything() -> None:
    facts = no_smt()
    ledger = Ledger().reserved(Holding(ask(dedicated("db", 7), facts)))
    reason = refusal(vm("web"), facts, ledger)["plan.shared-pool-empty"]
    assert ("db", "pCPUs 1-7") in reason.held_by


def test_a_small_host_lends_everything_until_a_dedicated_vm_takes_it() -> None:
    facts = laptop()
    web = ask(vm("web", cpu=CpuSpec(vcpus=2)), facts)
    assert pins(web) == [[0, 1], [0, 1]]
    assert web.emulator == {0, 1}
    ledger = Ledger().reserved(Holding(web))
    database = ask(dedicated("db", 1), facts, ledger)
    assert pins(database) == [[1]]
    assert database.emulator == {0}
    ledger = ledger.reserved(Holding(database))
    (moved,) = shared_repins(facts, HostPolicy(), ledger)
    assert pins(moved) == [[0], [0]]
    assert moved.emulator == {0}


def test_on_a_small_host_dedicated_may_take_all_and_is_warned() -> None:
    plan = ask(dedicated("db", 2), laptop())
    assert sorted(pins(plan)) == [[0], [1]]
    assert plan.emulator == {0, 1}
    assert "plan.no-housekeeping-left" in warning_codes(plan)


def test_explicit_pins_are_taken_as_written() -> None:
    plan = ask(pinned("rt", {2}, {3, 4}), no_smt())
    assert pins(plan) == [[2], [3, 4]]
    assert plan.emulator == {0}


def test_explicit_pins_of_two_vms_may_overlap_with_a_warning() -> None:
    ledger = Ledger().reserved(Holding(ask(pinned("one", {2}), no_smt())))
    plan = ask(pinned("two", {2}, {2}), no_smt(), ledger)
    assert warning_codes(plan) == ["plan.pin-overlaps-itself", "plan.pin-overlaps-vm"]


def test_every_wrong_pin_is_named() -> None:
    facts = build_host(cores_per_node=8, offline=(5,), isolated=(6, 7))
    ledger = Ledger().reserved(Holding(ask(dedicated("db", 1), facts)))
    reasons = refusal(pinned("rt", {99}, {5}, {6, 7}, {6}), facts, ledger)
    assert set(reasons) == {"plan.pin-absent", "plan.pin-offline", "plan.pin-floats-on-isolated", "plan.pin-dedicated"}
    assert reasons["plan.pin-absent"].message == "vCPU 0 is pinned to pCPUs that this host does not have: 99"
    assert reasons["plan.pin-dedicated"].held_by == (("db", "pCPU 6"),)


def test_too_few_pins_are_refused() -> None:
    spec = vm(cpu=CpuSpec(vcpus=3, placement="pinned", pin=(frozenset({1}),)))
    assert refusal(spec, no_smt())["plan.pin-count"].needed == "3 pins"


def test_dedicated_keeps_off_other_vms_pins_and_the_pool_does() -> None:
    ledger = Ledger().reserved(Holding(ask(pinned("rt", {1}, {2}), no_smt())))
    assert pins(ask(dedicated("db", 2), no_smt(), ledger)) == [[3], [4]]
    assert pins(ask(vm("web"), no_smt(), ledger)) == [[3, 4, 5, 6, 7]]


def test_a_pool_of_nothing_but_pinned_pcpus_is_used_with_a_warning() -> None:
    ledger = Ledger().reserved(Holding(ask(pinned("rt", {0}, {1}), laptop())))
    plan = ask(vm("web"), laptop(), ledger)
    assert pins(plan) == [[0, 1]]
    assert warning_codes(plan) == ["plan.shared-over-pins"]


def test_a_written_emulator_set_is_checked() -> None:
    facts = build_host(cores_per_node=8, offline=(7,))
    ledger = Ledger().reserved(Holding(ask(dedicated("db", 1), facts)))
    assert set(refusal(pinned("rt", {3}, emulator={1, 7}), facts, ledger)) == {
        "plan.emulator-offline",
        "plan.emulator-dedicated",
    }
    plan = ask(pinned("rt", {3}, emulator={3}), facts)
    assert plan.emulator == {3}
    assert warning_codes(plan) == ["plan.emulator-on-vcpus"]


def test_housekeeping_follows_the_policy() -> None:
    policy = HostPolicy(housekeeping=frozenset({6, 7}))
    plan = ask(dedicated("db", 2), no_smt(), policy=policy)
    assert pins(plan) == [[0], [1]]
    assert plan.emulator == {6, 7}


def test_iothreads_and_workers_stay_on_the_node_where_it_has_housekeeping() -> None:
    policy = HostPolicy(housekeeping=frozenset({0, 8}))
    spec = dedicated("db", 2, memory=MemorySpec(size_bytes=GIB, host_nodes=frozenset({1})))
    plan = ask(spec, two_sockets(), policy=policy)
    assert plan.emulator == {0, 8}
    assert pins(plan) == [[9], [25]]


def test_a_restart_gets_the_same_pcpus_again_where_they_are_free() -> None:
    facts = no_smt()
    ledger = settle(Ledger(), ask(dedicated("one", 2), facts), facts)
    two = ask(dedicated("two", 2), facts, ledger)
    record = guest_record_of(two)
    assert pins(ask(dedicated("two", 2), facts, record=record)) == pins(two) == [[3], [4]]
    taken = settle(Ledger(), ask(dedicated("other", 4), facts), facts)
    assert pins(ask(dedicated("two", 2), facts, taken, record=record)) == [[5], [6]]


def test_offline_pcpus_are_in_no_plan() -> None:
    facts = build_host(cores_per_node=4, threads=2, offline=(5,))
    assert pins(ask(vm(), facts)) == [[1, 2, 3, 6, 7]]
    assert pins(ask(dedicated("db", 2, threads=2), facts)) == [[2], [6]]


def test_a_host_without_pcpus_is_refused_not_crashed() -> None:
    facts = evolve(no_smt(), pcpus=())
    assert set(refusal(vm(), facts)) >= {"plan.no-pcpu"}


def test_a_topology_that_does_not_come_out_is_refused() -> None:
    assert "plan.topology" in refusal(vm(cpu=CpuSpec(vcpus=5, threads=2)), no_smt())
