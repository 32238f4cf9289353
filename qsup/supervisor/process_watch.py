"""What the VMs' processes have taken of the host, read now and then, as long as somebody collects metrics.

One look costs up to a millisecond, so others have their turn between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from qsup.host.process_stats import read_process_stats
from qsup.supervisor.lease import Lease
from qsup.supervisor.vm_state import VmState
from qsup.truth.process_stats import ProcessStats

INTERVAL_S = 60.0
LEASE_S = 90.0


class ProcessWatch:
    """Looks while it is wanted."""

    def __init__(self, fleet: Mapping[str, VmState]) -> None:
        self._fleet = fleet
        self._lease = Lease(LEASE_S)
        self._samples: dict[str, tuple[int, ProcessStats]] = {}

    def want(self) -> None:
        """Somebody collects metrics: look for a while."""
        self._lease.want()

    def sample(self, vm: VmState) -> ProcessStats | None:
        """The newest look at the process that runs now, or None."""
        pid, stats = self._samples.get(vm.name, (None, None))
        process = vm.run.process
        return stats if process is not None and process.pid == pid else None

    async def run(self) -> None:
        """Look for ever, while it is wanted.

        Touches: /proc/PID of each VM's process.
        """
        while True:
            await self._lease.wait_wanted()
            for vm in list(self._fleet.values()):
                self._look_at(vm)
                await trio.lowlevel.checkpoint()
            for gone in self._samples.keys() - self._fleet.keys():
                del self._samples[gone]
            await trio.sleep(INTERVAL_S)

    def _look_at(self, vm: VmState) -> None:
        process = vm.run.process
        stats = read_process_stats(process.pid) if process is not None else None
        if process is not None and stats is not None and process.is_alive():
            self._samples[vm.name] = process.pid, stats
