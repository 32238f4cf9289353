"""Waiting for a QEMU's greeting: without a deadline, and with an eye on whether anything moves meanwhile."""

from __future__ import annotations

import trio

from qsup.host.process_stats import read_process_stats
from qsup.supervisor.events import EventLog
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.starting import progress_of

LOOK_INTERVAL_S = 0.5
STILL_S = 30.0
"""After so long without any movement it is said, once. Nothing else follows: only an operator knows what to do."""


async def wait_greeting(events: EventLog, vm: VmState) -> None:
    """Return at the next ring of the VM's bell: its link or its process has something to tell, or somebody wants something.

    Touches: /proc/PID of a QEMU that has not greeted.
    """
    while True:
        with trio.move_on_after(LOOK_INTERVAL_S):
            await vm.wait_bell()
            return
        await look_at_start(events, vm)


async def look_at_start(events: EventLog, vm: VmState) -> None:
    """See how far the pages have come, and say so where nothing moves any more."""
    run = vm.run
    if run.process is None or run.plan is None or run.link is None or run.link.greeted:
        return
    stats = await trio.to_thread.run_sync(read_process_stats, run.process.pid)
    if stats is None:
        return
    run.progress = progress_of(run.progress, run.plan, stats, trio.current_time())
    if run.progress.pages_moved and vm.past.clock is not None:
        vm.past.clock.mark("prealloc")
    _tell_stillness(events, vm, run)


def _tell_stillness(events: EventLog, vm: VmState, run: RunSide) -> None:
    assert run.progress is not None
    still_s = trio.current_time() - run.progress.moved_at_s
    if still_s < STILL_S:
        run.stillness_told = False
    elif not run.stillness_told:
        run.stillness_told = True
        message = f"QEMU has not greeted, and neither its pages nor its CPU time have moved for {still_s:.0f} s"
        events.publish("vm.start-still", message, vm.name)
