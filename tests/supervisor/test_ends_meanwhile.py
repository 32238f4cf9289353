"""A VM whose process ends, and is let go, while somebody looks at it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest
import trio

from qsup.bytesize import MIB
from qsup.errors import KernelRefused
from qsup.host.move_pages import page_nodes
from qsup.supervisor.announcing import note_phase
from qsup.supervisor.launching import follow
from qsup.supervisor.mending import mend_memory
from qsup.supervisor.publish import view_of
from qsup.supervisor.verifying import verify_vm
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.memory import MemoryRow
from tests.supervisor.standing_in import codes, services_without_systemd, vm_of_a_shell


async def test_a_handle_that_is_closed_while_verify_reads_gives_the_table_of_what_does_not_run() -> None:
    with vm_of_a_shell() as vm:
        process = vm.run.process
        assert process is not None
        async with trio.open_nursery() as nursery:

            async def let_go() -> None:
                process.close()

            nursery.start_soon(let_go)
            table = await verify_vm(vm)
        assert (table.pid, table.threads) == (None, ())


async def test_no_phase_of_a_living_vm_is_left_behind() -> None:
    services = services_without_systemd()
    with vm_of_a_shell() as vm:
        note_phase(services.events, vm)
        assert (vm.phase, view_of(vm).pid is not None) == ("launched", True)
        vm.run.gone = True
        note_phase(services.events, vm)
        assert (view_of(vm).phase, view_of(vm).pid) == ("gone", None)
    assert codes(services) == []


PLACE = (1 << 44, "bind", (1,), 4096, ((0, 512),))
ELSEWHERE = MemoryRow("mem0", 2 * MIB, (1,), "bind", 4096, *PLACE, 2 * MIB, 2 * MIB, 0.0, "drift")


def ending_while_it_is_moved(vm: VmState, monkeypatch: pytest.MonkeyPatch, signal_number: int) -> list[int]:
    """Its pages are elsewhere; the first question about them sends the signal, and asks the kernel."""
    asked: list[int] = []

    def ask(pid: int, addresses: Sequence[int]) -> tuple[int, ...]:
        asked.append(pid)
        assert vm.run.process is not None
        vm.run.process.send_signal(signal_number)
        if signal_number == signal.SIGKILL:
            trio.from_thread.run(vm.run.process.wait_gone)
            return page_nodes(pid, addresses)
        raise KernelRefused("host.pages-refused", "move_pages", 1, "no")

    monkeypatch.setattr("qsup.supervisor.mending.memory_rows", lambda plan, count: (ELSEWHERE, ELSEWHERE))
    monkeypatch.setattr("qsup.supervisor.mending.page_nodes", ask)
    return asked


async def test_a_vm_that_ends_while_its_memory_is_moved_is_moved_as_far_as_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    services = services_without_systemd()
    with vm_of_a_shell() as vm:
        asked = ending_while_it_is_moved(vm, monkeypatch, signal.SIGKILL)
        mended = await mend_memory(services, vm)
        assert [backend.moved_bytes for backend in mended.backends] == [0, 0]
        assert len(asked) == 1, "nobody asks for the pages of a process id that may be another's by now"
        assert not vm.run.truth.mending


async def test_a_refusal_while_it_lives_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with vm_of_a_shell() as vm:
        ending_while_it_is_moved(vm, monkeypatch, signal.SIGCONT)
        with pytest.raises(KernelRefused, match="no"):
            await mend_memory(services_without_systemd(), vm)
        assert not vm.run.truth.mending


async def test_a_vm_that_is_let_go_before_anybody_follows_it() -> None:
    services = services_without_systemd()
    with vm_of_a_shell() as vm:
        async with trio.open_nursery() as nursery:
            follow(services, vm, nursery, greeted=False)
            run = vm.run
            assert run.process is not None
            run.process.close()
            vm.run = RunSide()
        assert run.gone
        assert vm.phase == "absent"


async def test_of_a_closed_handle_nobody_waits_for_the_end() -> None:
    with vm_of_a_shell() as vm:
        assert vm.run.process is not None
        vm.run.process.close()
        await vm.run.process.wait_gone()
        assert not vm.run.process.is_alive()
