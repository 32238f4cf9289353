"""Scores: each figure from a seat that was made for it."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings

from qsup.plan.host_facts import BridgeFacts, HostFacts, ImageFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.score import score_of
from qsup.plan.vmplan import VmPlan
from qsup.spec.cpu import CpuSpec
from qsup.spec.disk import DiskSpec
from qsup.spec.nic import NicSpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ask, dedicated, started, vm
from tests.plan.hosts import no_smt, nps4, two_sockets, with_images
from tests.plan.strategies import batches, hosts


def moved(plan: VmPlan, *pcpus: int) -> VmPlan:
    """The plan with its vCPUs on these pCPUs."""
    vcpus = tuple(evolve(vcpu, pin=frozenset({pcpu})) for vcpu, pcpu in zip(plan.vcpus, pcpus, strict=True))
    return evolve(plan, vcpus=vcpus)


def test_a_perfect_seat() -> None:
    facts = two_sockets()
    score = score_of(ask(dedicated("db1", 4, threads=2), facts), facts, Ledger())
    assert (score.smt, score.l3, score.node, score.split_cores, score.remote_vcpus) == (100, 100, 100, 0, 0)
    assert score.device is None


def test_a_sibling_that_carries_somebody_else() -> None:
    facts = two_sockets()
    mine, other = ask(dedicated("db1", 2), facts), ask(dedicated("db2", 1), facts)
    ledger = Ledger().reserved(Holding(moved(other, 17)))
    score = score_of(moved(mine, 1, 2), facts, ledger)
    assert (score.smt, score.neighbours) == (50, ("db2",))
    assert score_of(moved(mine, 1, 17), facts, Ledger()).smt == 100


def test_without_smt_there_is_nothing_to_share() -> None:
    facts = no_smt()
    assert score_of(ask(dedicated("db1", 2), facts), facts, Ledger()).smt is None


def test_guest_siblings_apart() -> None:
    facts = two_sockets()
    plan = ask(dedicated("db1", 4, threads=2), facts)
    assert score_of(moved(plan, 1, 17, 2, 18), facts, Ledger()).split_cores == 0
    assert score_of(moved(plan, 1, 2, 17, 18), facts, Ledger()).split_cores == 2


def test_l3_groups() -> None:
    facts = nps4()  # two cores share an L3
    plan = ask(dedicated("db1", 4, threads=2), facts)
    cores = facts.index.cores
    first, second, far = (cores[number] for number in (2, 3, 4))
    together = score_of(moved(plan, *first, *second), facts, Ledger())
    apart = score_of(moved(plan, *first, *far), facts, Ledger())
    assert (together.l3, together.l3_groups, together.l3_least) == (100, 1, 1)
    assert (apart.l3, apart.l3_groups, apart.l3_least) == (50, 2, 1)


def test_vcpus_far_from_their_memory() -> None:
    facts = two_sockets()
    plan = ask(dedicated("db1", 2), facts)
    (node,) = plan.guest_nodes[0].host_nodes
    far = sorted(facts.index.pcpus_of([1 - node]))[1:3]
    score = score_of(moved(plan, *far), facts, Ledger())
    assert (score.node, score.remote_vcpus) == (round(1000 / 21), 2)


def test_devices_on_a_node() -> None:
    facts = with_images(two_sockets(), ImageFacts("/a.raw", "raw", host_node=0), ImageFacts("/b.raw", "raw"))
    facts = evolve(facts, bridges={"br0": BridgeFacts("br0", 1500, host_node=1)}, links=frozenset({"br0"}))
    disks = (DiskSpec(path="/a.raw", format="raw"), DiskSpec(path="/b.raw", format="raw"))
    spec = vm("web1", disks=disks, nics=(NicSpec(bridge="br0"),))
    score = score_of(ask(spec, facts), facts, Ledger())
    assert sorted(device.distance for device in score.devices) == [10, 21]
    assert score.device == round(100 * 20 / 31)


def test_a_vm_of_many_nodes() -> None:
    facts = two_sockets()
    plan = ask(dedicated("big", 24, threads=2), facts)
    assert len(plan.guest_nodes) == 2
    score = score_of(plan, facts, Ledger())
    assert (score.node, score.l3_groups, score.l3) == (100, 2, 100)


def test_floating_vcpus_have_no_core_of_their_own() -> None:
    facts = two_sockets()
    score = score_of(ask(vm("web1", cpu=CpuSpec(vcpus=4)), facts), facts, Ledger())
    assert (score.l3, score.node, score.split_cores) == (None, 100, 0)


@settings(max_examples=100, deadline=None)
@given(hosts(), batches())
def test_scores_are_percentages(facts: HostFacts, batch: list[VmSpec]) -> None:
    ledger, _ = started(batch, facts)
    for holding in ledger.holdings.values():
        score = score_of(holding.plan, facts, ledger)
        for value in (score.smt, score.l3, score.node, score.device):
            assert value is None or 0 <= value <= 100
        assert 0 <= score.l3_least <= score.l3_groups
