"""What the guests' disks have done: asked of each QEMU on its telemetry connection, as long as somebody collects metrics.

Every VM is asked on its own and with a deadline. What one does not answer stays as it was, and has an age.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio
from attrs import frozen

from qsup.errors import QmpLost, QmpRefused
from qsup.qmp import verbs
from qsup.qmp.results import BlockCounters
from qsup.qmp.session import QmpSession
from qsup.supervisor.lease import Lease
from qsup.supervisor.vm_state import VmState

INTERVAL_S = 15.0
LEASE_S = 90.0
DEADLINE_S = 5.0
_PERIPHERAL = "/machine/peripheral/"


@frozen
class BlockSample:
    """One QEMU's answer: counters by disk id, and when it came (trio's clock). `pid` tells the QEMUs of one VM apart."""

    pid: int
    at_s: float
    disks: Mapping[str, BlockCounters]


class BlockWatch:
    """Asks while it is wanted."""

    def __init__(self, fleet: Mapping[str, VmState]) -> None:
        self._fleet = fleet
        self._lease = Lease(LEASE_S)
        self._samples: dict[str, BlockSample] = {}

    def want(self) -> None:
        """Somebody collects metrics: ask for a while."""
        self._lease.want()

    def sample(self, vm: VmState) -> BlockSample | None:
        """The newest answer of the QEMU that runs now, or None."""
        found = self._samples.get(vm.name)
        process = vm.run.process
        return found if found is not None and process is not None and found.pid == process.pid else None

    async def run(self) -> None:
        """Ask for ever, while it is wanted."""
        while True:
            await self._lease.wait_wanted()
            async with trio.open_nursery() as nursery:
                for vm in self._fleet.values():
                    link = vm.run.link
                    if vm.run.process is not None and link is not None and link.telemetry is not None:
                        nursery.start_soon(self._ask, vm.name, vm.run.process.pid, link.telemetry)
            for gone in self._samples.keys() - self._fleet.keys():
                del self._samples[gone]
            await trio.sleep(INTERVAL_S)

    async def _ask(self, name: str, pid: int, session: QmpSession) -> None:
        try:
            rows = await verbs.query_blockstats(session, timeout_s=DEADLINE_S)
        except (QmpLost, QmpRefused):
            return
        disks = {disk_id: row for row in rows if (disk_id := disk_id_of(row))}
        self._samples[name] = BlockSample(pid, trio.current_time(), disks)


def disk_id_of(row: BlockCounters) -> str | None:
    """The device's id in its QOM path ("/machine/peripheral/disk0/virtio-backend")."""
    path = row.qdev or ""
    return path.removeprefix(_PERIPHERAL).partition("/")[0] if path.startswith(_PERIPHERAL) else None
