"""Orders that come while something else is under way: what is said to be done is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define, field

from qsup.errors import BadRequest, QsupError
from qsup.plan.policy import HostPolicy
from qsup.reconcile.actions import Action, Launch, Prepare, Release
from qsup.reconcile.desired import Power
from qsup.spec.parse import parse_vm
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.requests import Requests
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.supervisor.vm_task import run_vm
from tests.argv.plans import vm_plan

FILE = '[cpu]\nvcpus = 1\n[memory]\nsize = "32MiB"\n'


@define
class SlowHands:
    """Preparing takes until the gate opens; nothing ever comes to run."""

    done: list[type[Action]] = field(factory=list)
    preparing: trio.Event = field(factory=trio.Event)
    gate: trio.Event = field(factory=trio.Event)

    async def __call__(self, action: Action, vm: VmState) -> None:
        if isinstance(action, Prepare):
            self.preparing.set()
            await self.gate.wait()
            vm.run.plan = vm_plan()
        elif isinstance(action, Release):
            vm.run = RunSide()
        self.done.append(type(action))


def services_in(state_dir: Path) -> Services:
    policy = HostPolicy(state_dir=str(state_dir))
    return Services(SettingsSpec(), policy, Reservations(policy), CapsCache(), EventLog(()), None, {})


def startable() -> VmState:
    vm = VmState("vm")
    vm.config.spec = parse_vm(FILE, file="vm.toml", name="vm")
    vm.config.state = "valid"
    return vm


@asynccontextmanager
async def being_prepared(state_dir: Path) -> AsyncIterator[tuple[Requests, VmState, SlowHands]]:
    """A VM whose preparation has begun and does not go on."""
    services, vm, hands = services_in(state_dir), startable(), SlowHands()
    vm.power.wanted = "on"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_vm, services, vm, hands)
        await hands.preparing.wait()
        yield Requests(services), vm, hands
        nursery.cancel_scope.cancel()


async def test_a_stop_is_done_when_what_was_under_way_is_undone(tmp_path: Path) -> None:
    async with being_prepared(tmp_path) as (requests, vm, hands), trio.open_nursery() as nursery:
        said: list[tuple[str, str]] = []

        async def stop() -> None:
            outcome = await requests.act(vm, "stop", paused=False, force=False, wait=True)
            said.append((outcome.message, outcome.phase))

        nursery.start_soon(stop)
        nursery.start_soon(stop)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (vm.power.wanted, said) == ("off", [])
        hands.gate.set()
        while len(said) < 2:
            await trio.testing.wait_all_tasks_blocked()
        assert said == [("stopped", "absent")] * 2
        assert hands.done == [Prepare, Release]
        assert Launch not in hands.done
        assert vm.run.plan is None


@pytest.mark.parametrize("phase", ["panicked", "io-error", "unresponsive"])
async def test_what_only_an_operator_can_help_is_not_waited_for(tmp_path: Path, phase: str) -> None:
    requests, vm = Requests(services_in(tmp_path)), startable()
    vm.phase, vm.power.wanted = phase, "paused"
    with pytest.raises(QsupError) as caught:
        await requests.act(vm, "start", paused=False, force=False, wait=True)
    assert caught.value.code == "supervisor.in-trouble"
    assert phase in caught.value.message


@pytest.mark.parametrize(
    ("phase", "wanted", "paused"), [("running", "on", True), ("paused", "paused", True), ("running", "on", False)]
)
async def test_a_start_changes_nothing_of_what_is_up(tmp_path: Path, phase: str, wanted: Power, paused: bool) -> None:
    requests, vm = Requests(services_in(tmp_path)), startable()
    vm.phase, vm.power.wanted = phase, wanted
    outcome = await requests.act(vm, "start", paused=paused, force=False, wait=True)
    assert (outcome.changed, outcome.message, vm.power.wanted) == (False, f"already {phase}", wanted)


async def test_what_has_no_file_any_more_is_not_restarted(tmp_path: Path) -> None:
    requests, vm = Requests(services_in(tmp_path)), startable()
    vm.phase, vm.config.state = "running", "removed"
    with pytest.raises(BadRequest) as caught:
        await requests.act(vm, "restart", paused=False, force=False, wait=True)
    assert (caught.value.code, vm.power.restart_pending) == ("supervisor.no-file", False)


async def test_a_vm_that_is_forgotten_while_it_is_to_start_did_not_start(tmp_path: Path) -> None:
    requests, vm = Requests(services_in(tmp_path)), startable()
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(BadRequest) as caught:
                await requests.act(vm, "start", paused=False, force=False, wait=True)
            assert caught.value.code == "supervisor.no-file"

        nursery.start_soon(start)
        await trio.testing.wait_all_tasks_blocked()
        vm.forgotten = True
        while nursery.child_tasks:
            vm.publish()
            await trio.testing.wait_all_tasks_blocked()
