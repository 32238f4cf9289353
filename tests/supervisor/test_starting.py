"""While a QEMU has not greeted: what moves is seen, and that nothing moves is said once and ends nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from qsup.process.handle import QemuProcess
from qsup.process.identity import read_identity
from qsup.supervisor.events import EventLog
from qsup.supervisor.publish import full_view_of, view_of
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.starting import STILL_S, look_at_start, wait_greeting
from qsup.supervisor.vm_state import VmState
from tests.argv.plans import vm_plan


@pytest.fixture
def vm() -> Iterator[VmState]:
    """A process that waits, and whose monitor says nothing."""
    with subprocess.Popen(["sh", "-c", "echo up; read _"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        identity = read_identity(child.pid)
        assert identity is not None
        process = QemuProcess.open(identity)
        assert process is not None
        state = VmState("vm")
        state.run.plan, state.run.process = vm_plan(), process
        state.run.link = QmpLink("q", "t", changed=state.ring, on_event=lambda event: None, patience_s=5)
        yield state
        process.close()
        child.kill()


async def test_stillness_is_told_once_and_waited_through(vm: VmState, autojump_clock: trio.testing.MockClock) -> None:
    events = EventLog(())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_greeting, events, vm)
        async with events.follow(0) as told:
            assert (await told.receive()).code == "vm.start-still"
        starting = view_of(vm).starting
        assert starting is not None
        assert starting.still_s >= STILL_S
        await trio.sleep(3 * STILL_S)
        assert len(nursery.child_tasks) == 1, "it waits on"
        vm.ring()
    assert [event.code for event in events.history()] == ["vm.start-still"]


async def test_what_has_greeted_is_not_starting(vm: VmState) -> None:
    await look_at_start(EventLog(()), vm)
    assert view_of(vm).starting is not None
    assert vm.run.link is not None
    vm.run.link.greeted = True
    assert view_of(vm).starting is None


async def test_only_the_view_of_one_vm_reads_its_process(vm: VmState) -> None:
    assert view_of(vm).process is None
    process = full_view_of(vm).process
    assert process is not None
    assert process.resident_bytes > 0
