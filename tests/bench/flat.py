"""Memory over 10,000 of the daemon's cycles: it must be flat.

The cycles are those of the daemon, made one after the other without their pauses: the second's sweep over all threads (some of
which are moved, and put back), a sample of who waits with its comparison and its history (whose clock goes five seconds a
cycle, so that the hour that is kept is full long before the end), every other time as for a watching `qsup top`, with its frame
and a line of the stream of waits, and now and then a count of pages and a scrape. The VMs are processes with twelve sleeping
threads each.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack

import trio

from qsup.api.metrics_text import text_of
from qsup.api.top_wire import top_json
from qsup.api.wait_wire import wait_line
from qsup.api.wire import to_bytes
from qsup.host.own_process import read_own_process
from qsup.supervisor.fleet_watch import FleetWatch
from qsup.supervisor.metrics import Metrics
from qsup.supervisor.page_watch import check_pages
from qsup.supervisor.services import Services
from qsup.supervisor.tending import tend_threads
from qsup.supervisor.top import Top
from qsup.supervisor.wait_watch import INTERVAL_S, WaitReport, WaitWatch
from tests.bench.cycles import SLEEPERS
from tests.supervisor.standing_in import MINE, services_without_systemd, tid_of, vm_of_a_shell

VMS, THREADS = 10, 12
CYCLES, SETTLED = 10_000, 2_000
MOVE_EACH, SCRAPE_EACH, COUNT_EACH, WATCHED_EACH = 50, 20, 20, 2
LIMIT_BYTES = 1 << 20
LIMIT_OBJECTS = 2_000


def main() -> int:
    """Print the row; 1 where memory has grown since it had settled."""
    return trio.run(_main)


async def _main() -> int:
    services = services_without_systemd()
    with ExitStack() as stack:
        for number in range(VMS):
            words = (sys.executable, "-S", "-c", SLEEPERS, str(THREADS))
            vm = stack.enter_context(vm_of_a_shell(f"vm{number}", words))
            services.fleet[vm.name] = vm
        cycle = _Cycle(services)
        for number in range(SETTLED):
            await cycle.turn(number)
        before = _held()
        for number in range(SETTLED, CYCLES):
            await cycle.turn(number)
        after = _held()
        repairs = sum(vm.run.truth.repairs for vm in services.fleet.values())
    grown, objects = after[0] - before[0], after[1] - before[1]
    print(f"{CYCLES:,} cycles of {VMS} VMs with {THREADS} threads each, {repairs} threads put back meanwhile")
    print(f"  resident after {SETTLED:,}   {before[0] / 2**20:7.2f} MiB, {before[1]:,} objects")
    print(f"  resident at the end   {after[0] / 2**20:7.2f} MiB, {after[1]:,} objects")
    print(f"  grown by              {grown / 2**10:7.0f} KiB, {objects:,} objects   "
          f"(limits {LIMIT_BYTES >> 10} KiB, {LIMIT_OBJECTS:,})")  # fmt: skip
    return 0 if grown <= LIMIT_BYTES and objects <= LIMIT_OBJECTS and repairs else 1


class _Cycle:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._watch = FleetWatch(services)
        self._waits = WaitWatch(services.fleet)
        self._metrics = Metrics(services, self._waits)
        self._top = Top(services.fleet)

    async def turn(self, number: int) -> None:
        """One of everything."""
        vms = list(self._services.fleet.values())
        if number % MOVE_EACH == 0:
            os.sched_setaffinity(tid_of(vms[number // MOVE_EACH % len(vms)]), MINE)
        self._watch.sweep()
        for vm in vms:
            if vm.look_wanted:
                vm.look_wanted = False
                await tend_threads(self._services, vm)
        if number % COUNT_EACH == 0:
            await check_pages(self._services, vms[number // COUNT_EACH % len(vms)])
        watched = number % WATCHED_EACH == 0
        interval = self._waits._compare(self._waits._targets.current(), watched)
        if interval is not None:
            report = WaitReport(number * INTERVAL_S, interval)
            self._waits._publish(report)
            if watched:
                to_bytes(top_json(self._top.frame(report, None)))
                wait_line(report, None)
        if number % SCRAPE_EACH == 0:
            text_of(self._metrics.families())


def _held() -> tuple[int, int]:
    gc.collect()
    return read_own_process().resident_bytes or 0, len(gc.get_objects())


if __name__ == "__main__":
    sys.exit(main())
