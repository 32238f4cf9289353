"""Real-time vCPUs share their pCPUs with nobody: refused where they would, and kept so by the ledger."""

from __future__ import annotations

from typing import Any

from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.spec.cpu import CpuSpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import POLICY, ask, dedicated, pins, refusal, settle, vm
from tests.plan.checker import faults_of
from tests.plan.hosts import build_host, laptop, no_smt


def realtime(name: str, vcpus: int, **cpu: Any) -> VmSpec:
    return vm(name, cpu=CpuSpec(vcpus=vcpus, realtime_priority=10, **{"placement": "dedicated", **cpu}))


def pinned(name: str, *pcpus: int, **cpu: Any) -> VmSpec:
    return realtime(name, len(pcpus), placement="pinned", pin=tuple(frozenset({pcpu}) for pcpu in pcpus), **cpu)


def holding(spec: VmSpec, facts: HostFacts) -> Ledger:
    return settle(Ledger(), ask(spec, facts), facts)


def test_own_pcpus_are_enough() -> None:
    plan = ask(realtime("rt", 2), no_smt())
    assert (plan.realtime_priority, plan.realtime_vcpus) == (10, frozenset({0, 1}))
    mixed = ask(realtime("rt", 2, shared_vcpus=frozenset({1})), no_smt())
    assert mixed.realtime_vcpus == {0}, "what floats is not real-time"


def test_the_emulator_must_not_share_their_pcpus() -> None:
    reason = refusal(pinned("rt", 1, emulator=frozenset({1, 2})), no_smt())["plan.realtime-starves"]
    assert reason.message == (
        "the emulator would share pCPU 1 with vCPUs of real-time priority 10: it would not run beside them, and the guest "
        "would stand still"
    )
    assert pins(ask(pinned("rt", 1, emulator=frozenset({2})), no_smt())) == [[1]]


def test_a_small_host_must_keep_a_pcpu_for_qemus_other_threads() -> None:
    assert "plan.realtime-starves" in refusal(realtime("rt", 2), laptop())
    ledger = holding(realtime("rt", 1), laptop())
    assert ledger.holdings["rt"].plan.emulator == {0}
    reason = refusal(dedicated("late", 1), laptop(), ledger)["plan.realtime-starves"]
    assert "real-time vCPUs (rt)" in reason.message, "its emulator would have nowhere to run"


def test_real_time_pins_belong_to_the_vm_alone() -> None:
    ledger = holding(pinned("rt", 1, 2), no_smt())
    assert ledger.index.exclusive.keys() == {1, 2}
    assert pins(ask(vm("web"), no_smt(), ledger)) == [[3, 4, 5, 6, 7]]
    assert pins(ask(dedicated("db", 2), no_smt(), ledger)) == [[3], [4]]
    late = vm("late", cpu=CpuSpec(vcpus=1, placement="pinned", pin=(frozenset({2}),)))
    assert "plan.pin-dedicated" in refusal(late, no_smt(), ledger)


def test_pins_where_somebody_is_are_refused() -> None:
    there = vm("there", cpu=CpuSpec(vcpus=1, placement="pinned", pin=(frozenset({1}),)))
    reason = refusal(pinned("rt", 1, 2), no_smt(), holding(there, no_smt()))["plan.realtime-shared"]
    assert reason.held_by == (("there", "pCPU 1"),)
    both = realtime("rt", 2, placement="pinned", pin=(frozenset({1, 2}), frozenset({2, 3})))
    assert "share pins (pCPU 2)" in refusal(both, no_smt())["plan.realtime-shared"].message


def test_running_shared_vms_keep_a_pcpu() -> None:
    facts = build_host(cores_per_node=4)
    ledger = holding(vm("web"), facts)
    assert "plan.realtime-shared" in refusal(pinned("rt", 1, 2, 3), facts, ledger)
    after = settle(ledger, ask(pinned("rt", 1, 2), facts, ledger), facts)
    assert pins(after.holdings["web"].plan) == [[3]], "it has moved away"
    assert faults_of(facts, POLICY, [held.plan for held in after.holdings.values()]) == []


def test_a_real_time_vm_on_housekeeping_drives_other_threads_away() -> None:
    facts = build_host(cores_per_node=4, threads=2)
    ledger = holding(vm("web"), facts)
    assert ledger.holdings["web"].plan.emulator == {0, 4}
    plan = ask(pinned("rt", 0), facts, ledger)
    assert plan.emulator == {4}
    assert settle(ledger, plan, facts).holdings["web"].plan.emulator == {4}
    assert Ledger().reserved(Holding(plan)).index.realtime == {0: ("rt",)}
