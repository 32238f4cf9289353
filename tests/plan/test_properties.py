"""What must hold for any host and any VMs."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.errors import Refused
from qsup.plan.guest_record import guest_record_of, hardware_changes
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.ledger_index import index_of
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ask, started
from tests.plan.checker import faults_of, strays_from
from tests.plan.strategies import batches, hosts, policies, specs

many = settings(max_examples=150, deadline=None)
some = settings(max_examples=60, deadline=None)


@many
@given(hosts(), policies(), batches())
def test_a_host_full_of_plans_keeps_every_promise(facts: HostFacts, policy: HostPolicy, batch: list[VmSpec]) -> None:
    ledger, refused = started(batch, facts, policy=policy)
    plans = [holding.plan for holding in ledger.holdings.values()]
    assert faults_of(facts, policy, plans) == []
    here = (spec for spec in batch if spec.name in ledger.holdings)
    assert [stray for spec in here for stray in strays_from(spec, ledger.holdings[spec.name].plan)] == []
    assert len(plans) + len(refused) == len(batch)


@some
@given(hosts(), policies(), batches())
def test_a_refusal_has_codes_and_texts(facts: HostFacts, policy: HostPolicy, batch: list[VmSpec]) -> None:
    _, refused = started(batch, facts, policy=policy)
    for refusal in refused.values():
        assert refusal.reasons
        for reason in refusal.reasons:
            assert reason.code.startswith("plan.")
            assert reason.message
            assert reason.hint


@some
@given(hosts(), policies(), batches(), st.randoms(use_true_random=False))
def test_the_order_of_a_batch_does_not_matter(facts: HostFacts, policy: HostPolicy, batch: list[VmSpec], dice: object) -> None:
    shuffled = list(batch)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    one, one_refused = started(batch, facts, policy=policy)
    other, other_refused = started(shuffled, facts, policy=policy)
    assert one == other
    assert one_refused.keys() == other_refused.keys()


@some
@given(hosts(), policies(), batches())
def test_reserve_then_release_is_the_identity(facts: HostFacts, policy: HostPolicy, batch: list[VmSpec]) -> None:
    full, _ = started(batch, facts, policy=policy)
    for name, holding in full.holdings.items():
        without = full.released(name)
        assert without.index == index_of(without.holdings.values())
        assert without.reserved(holding) == full
        assert without.reserved(holding).released(name) == without


@some
@given(hosts(), policies(), specs("vm"))
def test_equal_inputs_give_equal_plans_and_a_restart_moves_nothing(facts: HostFacts, policy: HostPolicy, spec: VmSpec) -> None:
    try:
        plan = ask(spec, facts, policy=policy)
    except Refused:
        return
    assert ask(spec, facts, policy=policy) == plan
    again = ask(spec, facts, policy=policy, record=guest_record_of(plan))
    assert again == plan
    assert hardware_changes(guest_record_of(plan), again) == ()
    assert ask(spec, facts, Ledger().reserved(Holding(plan)), policy=policy) == plan


@some
@given(hosts(), policies(), batches())
def test_repins_settle_at_once_and_move_only_what_floats(facts: HostFacts, policy: HostPolicy, batch: list[VmSpec]) -> None:
    ledger, _ = started(batch, facts, policy=policy)
    assert shared_repins(facts, policy, ledger) == ()
    for name in list(ledger.holdings):
        smaller = ledger.released(name)
        for plan in shared_repins(facts, policy, smaller):
            before = smaller.holdings[plan.name].plan
            pairs = zip(plan.vcpus, before.vcpus, strict=True)
            assert all(one == other for one, other in pairs if one.vcpu_index not in plan.floating)
            smaller = smaller.reserved(Holding(plan))
        assert shared_repins(facts, policy, smaller) == ()
        # What a pool pCPU carries is counted when a VM is placed: one that explicit pins have left draws all floaters to it.
        rules = evolve(policy, overcommit=None)
        assert faults_of(facts, rules, [holding.plan for holding in smaller.holdings.values()]) == []
