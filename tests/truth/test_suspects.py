"""Who may have moved a thread."""

from __future__ import annotations

import pytest
from attrs import evolve

from qsup.truth.suspects import AgentFacts, Scene, suspects_of
from qsup.truth.threads import ThreadRow
from qsup.truth.tuned import TunedScheduler

ALL = frozenset(range(4))
ROW = ThreadRow("vcpu", "vcpu 0", 101, "CPU 0/KVM", frozenset({2}), frozenset({0}), "drift")
QUIET = Scene(ALL, ALL, None, None)
TUNED = AgentFacts(frozenset({"tuned"}), "cpu-partitioning", TunedScheduler(isolates=True))


def first(row: ThreadRow, scene: Scene, agents: AgentFacts) -> str:
    return suspects_of(row, scene, agents)[0]


def test_nobody_known_is_somebodys_taskset() -> None:
    assert "taskset" in first(ROW, QUIET, AgentFacts())


def test_hotplug_names_the_pcpus() -> None:
    assert first(ROW, evolve(QUIET, online=ALL - {3}), TUNED) == "CPU hotplug: pCPUs 3 went offline"
    assert first(ROW, evolve(QUIET, online_before=ALL - {2, 3}), TUNED) == "CPU hotplug: pCPUs 2,3 came online"
    both = first(ROW, evolve(QUIET, online=ALL - {3}, online_before=ALL - {1}), TUNED)
    assert both == "CPU hotplug: pCPUs 3 went offline and 1 came online"


def test_a_cpuset_that_does_not_allow_the_pin() -> None:
    scene = evolve(QUIET, cpuset=frozenset({0, 1}), cpuset_before=ALL)
    assert first(ROW, scene, TUNED) == "its cgroup's cpuset: it allows pCPUs 0,1 only"


def test_a_cpuset_that_changed_and_still_allows_it() -> None:
    scene = evolve(QUIET, cpuset=frozenset({0, 2}), cpuset_before=ALL)
    assert "a change of its cgroup's cpuset, now 0,2" in first(ROW, scene, TUNED)
    assert "taskset" in first(ROW, evolve(scene, cpuset_before=None), AgentFacts()), "not known before is no change"


@pytest.mark.parametrize(
    ("spares", "accused"),
    [((), True), (("CPU .*/KVM",), False), (("qemu-kvm",), True), (("*broken",), True)],
)
def test_tuned_is_accused_unless_its_filters_spare_the_thread(spares: tuple[str, ...], accused: bool) -> None:
    found = suspects_of(ROW, QUIET, evolve(TUNED, tuned=TunedScheduler(isolates=True, spares=spares)))
    assert any("cpu-partitioning moves threads called CPU 0/KVM" in text for text in found) is accused
    assert found


def test_tuned_without_a_scheduler_section_is_a_perhaps() -> None:
    assert first(ROW, QUIET, AgentFacts(frozenset({"tuned"}), "balanced")) == "perhaps tuned: its profile is balanced"
    assert "taskset" in first(ROW, QUIET, AgentFacts(frozenset(), "balanced")), "a profile of a tuned that does not run"


def test_numad_and_irqbalance() -> None:
    both = AgentFacts(frozenset({"numad", "irqbalance"}))
    assert suspects_of(ROW, QUIET, both) == ("numad: it binds processes to nodes",)
    worker = evolve(ROW, thread_class="vhost", label="vhost")
    assert "irqbalance" in suspects_of(worker, QUIET, both)[1]
