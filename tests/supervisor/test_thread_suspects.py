"""Who moved a thread, as the supervisor finds out while it looks at a process that stands in for QEMU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from qsup.spec.parse import parse_vm
from qsup.supervisor import looking, tending
from qsup.supervisor.agents import AgentsCache
from qsup.supervisor.services import Services
from qsup.supervisor.tending import CPUSET_INTERVAL_S, tend_threads
from qsup.supervisor.vm_state import VmState
from qsup.truth.drift import MOVES_LIMIT, SLOW_MOVES_LIMIT, WINDOW_S
from qsup.truth.suspects import AgentFacts
from tests.supervisor.standing_in import MINE, PIN, codes, needs_two, services_without_systemd, tid_of, vm_of_a_shell

pytestmark = needs_two

ALLOWED = frozenset(range(64))
TASKSET = "somebody's taskset or sched_setaffinity: no agent that is known to move threads runs here"
AWAY = MINE - PIN


class Host:
    """What stands in for this host: its agents, its online pCPUs, the cpuset of a cgroup."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.agents = AgentFacts()
        self.online, self.cpuset = MINE, ALLOWED
        self.agents_asked = self.cpusets_read = 0
        monkeypatch.setattr("qsup.supervisor.agents.read_agents", self.read_agents)
        monkeypatch.setattr(tending, "online_pcpus", lambda: self.online)
        monkeypatch.setattr(looking, "online_pcpus", lambda: self.online)
        monkeypatch.setattr(tending, "cpuset_of", self.cpuset_of)

    def read_agents(self) -> AgentFacts:
        self.agents_asked += 1
        return self.agents

    def cpuset_of(self, pid: int) -> frozenset[int]:
        self.cpusets_read += 1
        return self.cpuset


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.fixture
def services() -> Services:
    return services_without_systemd()


@pytest.fixture
def vm(host: Host) -> Iterator[VmState]:
    with vm_of_a_shell() as state:
        yield state


async def move(services: Services, vm: VmState) -> str:
    """The thread is moved and seen there; who is suspected of it, as the newest event says."""
    os.sched_setaffinity(tid_of(vm), AWAY)
    await tend_threads(services, vm)
    (*_, event) = services.events.history()
    suspects = event.fields["suspects"]
    assert event.message.endswith(f"Likely: {suspects}")
    return suspects


async def test_nobody_known_is_somebodys_taskset_and_the_thread_is_back_before_anybody_is_asked(
    services: Services, vm: VmState, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_at: list[frozenset[int]] = []

    async def facts(self: AgentsCache) -> AgentFacts:
        seen_at.append(frozenset(os.sched_getaffinity(tid_of(vm))))
        return AgentFacts()

    monkeypatch.setattr(AgentsCache, "facts", facts)
    await tend_threads(services, vm)
    assert await move(services, vm) == TASKSET
    assert (codes(services), seen_at) == (["vm.thread-moved-back"], [PIN])


async def test_an_agent_that_runs_is_named_at_each_move_and_asked_once(services: Services, vm: VmState, host: Host) -> None:
    host.agents = AgentFacts(frozenset({"numad"}))
    await tend_threads(services, vm)
    assert [await move(services, vm) for _ in range(3)] == ["numad: it binds processes to nodes"] * 3
    assert host.agents_asked == 1


async def test_where_many_are_moved_at_once_the_agents_are_asked_once(host: Host) -> None:
    cache = AgentsCache()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(cache.facts)
    assert host.agents_asked == 1


async def test_without_repair_the_suspects_are_named_as_well(services: Services, vm: VmState, host: Host) -> None:
    text = '[vm]\nrepair = false\n[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n'
    vm.config.spec = parse_vm(text, file="vm.toml", name="vm")
    await tend_threads(services, vm)
    host.cpuset = MINE
    assert (await move(services, vm)).startswith("a change of its cgroup's cpuset")
    assert codes(services) == ["vm.thread-moved"]


async def test_a_cpuset_that_was_changed_once_is_named_through_the_whole_fight(
    services: Services, vm: VmState, host: Host, autojump_clock: MockClock
) -> None:
    await tend_threads(services, vm)
    host.cpuset = MINE
    while "vm.thread-left-alone" not in codes(services):
        assert (await move(services, vm)).startswith("a change of its cgroup's cpuset")
        await trio.sleep(1)
    assert codes(services) == ["vm.thread-moved-back"] * MOVES_LIMIT + ["vm.thread-left-alone"]


async def test_a_slow_mover_is_given_up_as_well_and_what_began_it_is_named(
    services: Services, vm: VmState, host: Host, autojump_clock: MockClock
) -> None:
    await tend_threads(services, vm)
    host.cpuset = MINE
    suspects = []
    while "vm.thread-left-alone" not in codes(services):
        suspects.append(await move(services, vm))
        await trio.sleep(WINDOW_S / 4)
    assert codes(services) == ["vm.thread-moved-back"] * SLOW_MOVES_LIMIT + ["vm.thread-left-alone"]
    (*_, event) = services.events.history()
    assert f"left its pCPUs {min(PIN)} more than {SLOW_MOVES_LIMIT} times in 60 min and is" in event.message
    assert suspects[-2] == TASKSET, "a single move was so long after it"
    assert suspects[-1].startswith("a change of its cgroup's cpuset")


async def test_a_hotplug_that_a_calm_look_saw_is_named_when_a_move_follows(
    services: Services, vm: VmState, host: Host, autojump_clock: MockClock
) -> None:
    await tend_threads(services, vm)
    host.online = MINE | {max(MINE) + 1}
    await tend_threads(services, vm)
    assert codes(services) == []
    await trio.sleep(WINDOW_S / 2)
    assert await move(services, vm) == f"CPU hotplug: pCPUs {max(MINE) + 1} came online"
    await trio.sleep(WINDOW_S)
    assert await move(services, vm) == TASKSET, "it is too long ago"


async def test_a_cpuset_that_a_calm_look_saw_is_named_when_a_move_follows(
    services: Services, vm: VmState, host: Host, autojump_clock: MockClock
) -> None:
    await tend_threads(services, vm)
    host.cpuset = MINE
    await trio.sleep(CPUSET_INTERVAL_S)
    await tend_threads(services, vm)
    assert codes(services) == []
    await trio.sleep(WINDOW_S / 2)
    assert (await move(services, vm)).startswith("a change of its cgroup's cpuset")


async def test_calm_looks_read_the_cpuset_once_in_a_while(
    services: Services, vm: VmState, host: Host, autojump_clock: MockClock
) -> None:
    for _ in range(round(CPUSET_INTERVAL_S) * 2):
        await tend_threads(services, vm)
        await trio.sleep(1)
    assert host.cpusets_read == 2
