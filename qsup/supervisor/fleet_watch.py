"""Once a second over the whole fleet: which VM is to be looked at? Its own task does the looking; most seconds none has to.

Strategy: a full look reads two files for each thread and judges them all. Most seconds nothing has changed, and to know that
takes one question a thread (its affinity) and one a process (how many threads it has): a thread that was moved, came or
went shows there. What only time can change has its moment (`judge_again_s`). Where a guest does not run yet, or is being
stopped, its VM is looked at every second; and every VM once in five minutes whatever was seen, so that nothing hangs on this
being right.

A VM's task that is in an action may await its QEMU for half a minute (`stop` drains disks). The look does not wait for that: it
needs no QEMU, and is taken from here, by the same function and under the VM's lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import trio

from qsup.host.thread_masks import have_masks
from qsup.host.thread_schedulers import have_schedulers
from qsup.host.topology import online_pcpus
from qsup.process.log_dir import logs_are_long
from qsup.supervisor.observe import rules_of
from qsup.supervisor.seconds import next_second
from qsup.supervisor.services import Services
from qsup.supervisor.upkeep import look_after
from qsup.supervisor.vm_state import RunSide, VmState

PERIOD_S = 1.0
LOGS_PERIOD_S = 20.0
FULL_LOOK_S = 300.0
"""Within this time every VM gets a full look in any case, a few of them each second."""


class FleetWatch:
    """Sees what differs from the last look at each VM."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._fleet = services.fleet
        self._online = online_pcpus()
        self._turn = 0

    async def run(self) -> None:
        """Watch for ever, and look at the VMs whose tasks cannot now."""
        async with trio.open_nursery() as nursery:
            while True:
                self.sweep()
                for vm in self._fleet.values():
                    if _has_no_time(vm):
                        nursery.start_soon(look_after, self._services, vm)
                await next_second()

    def sweep(self) -> None:
        """One turn over all VMs: those of whom anything differs are to be looked at.

        Touches: sched_getaffinity of all threads; the links of /proc/PID/task; the sizes of logs; the list of online pCPUs.
        """
        now_s = trio.current_time()
        online = online_pcpus()
        hotplugged, self._online = online != self._online, online
        for vm in self._in_turn():
            vm.want_look()
        for vm in self._fleet.values():
            if not vm.look_wanted and (hotplugged or differs(vm, now_s)):
                vm.want_look()

    def _in_turn(self) -> Iterator[VmState]:
        """An even part of the fleet, the next one each second: all have had their turn within the time of a full look."""
        turns, count = round(FULL_LOOK_S / PERIOD_S), len(self._fleet)
        turn, self._turn = self._turn, (self._turn + 1) % turns
        return itertools.islice(self._fleet.values(), count * turn // turns, count * (turn + 1) // turns)


def _has_no_time(vm: VmState) -> bool:
    """A look is wanted, and the VM's task is in an action. While a guest is being started, the action itself looks."""
    return vm.look_wanted and vm.busy and vm.run.started and not vm.looking.locked()


def differs(vm: VmState, now_s: float) -> bool:
    """Whether a full look at this VM may see or do something that the last one did not."""
    run = vm.run
    if run.process is None or run.gone or (run.ids is None and not run.started):
        return False
    if not run.started or not run.rows or run.stop_stage != "none":
        return True
    truth = run.truth
    if now_s >= truth.judge_again_s or truth.repairing != rules_of(vm).repair:
        return True
    if run.process.thread_count() != truth.process_threads or not have_masks(truth.masks):
        return True
    return not have_schedulers(truth.schedulers) or _logs_are_long(run, now_s)


def _logs_are_long(run: RunSide, now_s: float) -> bool:
    """Looked at every few seconds; every second where they had to be trimmed the last time."""
    truth = run.truth
    if run.plan is None or (now_s - truth.logs_looked_s < LOGS_PERIOD_S and not truth.trimmed):
        return False
    truth.logs_looked_s = now_s
    truth.trimmed = logs_are_long(run.plan.paths.log_dir, run.plan.log_bytes)
    return truth.trimmed
