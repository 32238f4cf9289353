"""A VM whose process ends, and is let go, while somebody looks at it."""

from __future__ import annotations

import trio

from qsup.supervisor.announcing import note_phase
from qsup.supervisor.publish import view_of
from qsup.supervisor.verifying import verify_vm
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
