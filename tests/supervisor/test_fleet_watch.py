"""The second's sweep: a VM is looked at where something differs, and nowhere else. On processes that stand in for QEMU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from qsup.process.log_dir import SERIAL_LOG
from qsup.reconcile.actions import Action
from qsup.spec.parse import parse_vm
from qsup.supervisor import upkeep
from qsup.supervisor.fleet_watch import FULL_LOOK_S, LOGS_PERIOD_S, PERIOD_S, FleetWatch, differs
from qsup.supervisor.services import Services
from qsup.supervisor.tending import tend_threads
from qsup.supervisor.upkeep import look_after
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.vm_task import run_vm
from tests.supervisor.standing_in import MINE, PIN, codes, needs_two, services_without_systemd, tid_of, vm_of_a_shell

LATER_S = FULL_LOOK_S


@pytest.fixture
def services() -> Services:
    return services_without_systemd()


@pytest.fixture
def vm(services: Services) -> Iterator[VmState]:
    with vm_of_a_shell() as state:
        services.fleet[state.name] = state
        yield state


async def looked_at(services: Services, vm: VmState) -> float:
    """A look has been taken, after which all is well; now."""
    for _ in range(2):  # the first one places, and looks for kernel threads
        await tend_threads(services, vm)
    vm.look_wanted = False
    return trio.current_time()


async def test_a_vm_of_which_nothing_differs_is_left_in_peace(services: Services, vm: VmState) -> None:
    now_s = await looked_at(services, vm)
    assert not differs(vm, now_s)
    assert not differs(vm, now_s + LATER_S)


@needs_two
async def test_a_moved_thread_is_seen_and_by_the_next_look_put_back(services: Services, vm: VmState) -> None:
    await looked_at(services, vm)
    watch = FleetWatch(services)
    watch.sweep()
    assert not vm.look_wanted
    os.sched_setaffinity(tid_of(vm), MINE)
    watch.sweep()
    assert vm.look_wanted
    await tend_threads(services, vm)
    assert (os.sched_getaffinity(tid_of(vm)), codes(services)) == (PIN, ["vm.thread-moved-back"])


@needs_two
async def test_a_thread_that_is_only_reported_asks_for_no_further_looks(services: Services, vm: VmState) -> None:
    text = '[vm]\nrepair = {}\n[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n'
    vm.config.spec = parse_vm(text.format("false"), file="vm.toml", name="vm")
    await looked_at(services, vm)
    os.sched_setaffinity(tid_of(vm), MINE)
    assert differs(vm, trio.current_time())
    await tend_threads(services, vm)
    assert codes(services) == ["vm.thread-moved"]
    assert not differs(vm, trio.current_time() + LATER_S)
    vm.config.spec = parse_vm(text.format("true"), file="vm.toml", name="vm")
    assert differs(vm, trio.current_time()), "another rule judges otherwise"


async def test_a_thread_that_came_or_went_is_seen(services: Services, vm: VmState) -> None:
    now_s = await looked_at(services, vm)
    vm.run.truth.process_threads += 1
    assert differs(vm, now_s)
    vm.run.truth.process_threads -= 1
    vm.run.truth.masks += ((2**22 + 1, PIN),)  # above the kernel's highest thread id
    assert differs(vm, now_s)


async def test_a_process_that_ended_is_its_pidfds_business(services: Services, vm: VmState) -> None:
    now_s = await looked_at(services, vm)
    assert vm.run.process is not None
    vm.run.process.send_signal(9)
    await vm.run.process.wait_gone()
    vm.run.gone = True
    vm.run.truth.process_threads += 1
    assert not differs(vm, now_s)


async def test_a_guest_that_does_not_run_yet_or_is_being_stopped_is_looked_at_every_second(
    services: Services, vm: VmState
) -> None:
    now_s = await looked_at(services, vm)
    vm.run.note_stop("asked")
    assert differs(vm, now_s)
    vm.run.stop_stage, vm.run.started = "none", False
    assert differs(vm, now_s)
    vm.run.ids = None
    assert not differs(vm, now_s), "there is nothing yet that could be looked at"


async def test_a_log_that_grows_too_long_is_seen_within_seconds_and_then_every_second(
    services: Services, vm: VmState, tmp_path: Path
) -> None:
    now_s = await looked_at(services, vm)
    assert vm.run.plan is not None
    vm.run.plan = evolve(vm.run.plan, paths=evolve(vm.run.plan.paths, log_dir=str(tmp_path)), log_bytes=4096)
    assert not differs(vm, now_s)
    (tmp_path / SERIAL_LOG).write_bytes(b"x" * 4096)
    assert not differs(vm, now_s + PERIOD_S)
    due_s = now_s + LOGS_PERIOD_S + PERIOD_S / 2
    assert differs(vm, due_s)
    assert differs(vm, due_s + PERIOD_S)
    os.truncate(tmp_path / SERIAL_LOG, 0)
    assert not differs(vm, due_s + 2 * PERIOD_S)
    assert not vm.run.truth.trimmed


async def test_every_vm_has_its_full_look_in_time_and_not_all_at_once(
    services: Services, autojump_clock: trio.testing.MockClock
) -> None:
    with ExitStack() as stack:
        for number in range(3):
            state = stack.enter_context(vm_of_a_shell(f"vm{number}"))
            services.fleet[state.name] = state
            await looked_at(services, state)
        watch = FleetWatch(services)
        wanted = []
        for _ in range(round(FULL_LOOK_S / PERIOD_S)):
            watch.sweep()
            wanted.append([name for name, state in services.fleet.items() if state.look_wanted])
            for state in services.fleet.values():
                state.look_wanted = False
    assert sorted(name for names in wanted for name in names) == sorted(services.fleet)
    assert max(map(len, wanted)) == 1
    turns = [turn for turn, names in enumerate(wanted) if names]
    assert min(later - turn for turn, later in itertools.pairwise(turns)) * 3 > FULL_LOOK_S / PERIOD_S - 3, "evenly"


async def test_the_task_sweeps_once_a_second(services: Services, vm: VmState, autojump_clock: trio.testing.MockClock) -> None:
    await looked_at(services, vm)
    vm.run.truth.process_threads += 1
    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(FleetWatch(services).run)
        await vm.wait_bell()
        vm.look_wanted = False
        await vm.wait_bell()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - begun_s == pytest.approx(PERIOD_S)


@needs_two
async def test_a_thread_is_put_back_while_the_vms_task_waits_in_an_action(
    services: Services, vm: VmState, autojump_clock: trio.testing.MockClock
) -> None:
    await looked_at(services, vm)
    waiting = trio.Event()

    async def wait_for_qemu(action: Action, vm: VmState) -> None:
        waiting.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_vm, services, vm, wait_for_qemu)
        await waiting.wait()
        nursery.start_soon(FleetWatch(services).run)
        await trio.testing.wait_all_tasks_blocked()
        os.sched_setaffinity(tid_of(vm), MINE)
        await trio.sleep(PERIOD_S * 1.25)
        await trio.testing.wait_all_tasks_blocked()
        assert os.sched_getaffinity(tid_of(vm)) == PIN
        assert vm.busy
        nursery.cancel_scope.cancel()


async def test_a_vm_whose_task_has_time_is_left_to_it(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    looked: list[VmState] = []

    async def look(services: Services, vm: VmState) -> None:
        looked.append(vm)

    monkeypatch.setattr("qsup.supervisor.fleet_watch.look_after", look)
    for busy, started in ((False, True), (True, False), (True, True)):
        vm.busy, vm.run.started, vm.look_wanted = busy, started, True
        with trio.move_on_after(PERIOD_S / 2):
            await FleetWatch(services).run()
        assert looked == ([vm] if busy and started else [])


async def test_no_two_looks_at_a_vm_are_under_way_at_once(
    services: Services, vm: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[VmState] = []
    going_on = trio.Event()

    async def tend(services: Services, vm: VmState) -> None:
        begun.append(vm)
        await going_on.wait()

    monkeypatch.setattr(upkeep, "tend_threads", tend)
    vm.want_look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_after, services, vm)
        nursery.start_soon(look_after, services, vm)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(begun), vm.look_wanted) == (1, False)
        vm.want_look()
        await trio.testing.wait_all_tasks_blocked()
        assert len(begun) == 1
        going_on.set()
    assert len(begun) == 2, "what was wanted meanwhile is looked at"
    await look_after(services, vm)
    assert len(begun) == 2
