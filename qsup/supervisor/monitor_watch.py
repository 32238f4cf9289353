"""Once a second over the whole fleet: monitors whose turn it is are asked whether they still answer. Nobody waits for it."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from qsup.supervisor.seconds import next_second
from qsup.supervisor.vm_state import VmState


async def watch_monitors(fleet: Mapping[str, VmState]) -> None:
    """Ask for ever; each link knows when its turn is, and what became of what it asked."""
    while True:
        now_s = trio.current_time()
        for vm in fleet.values():
            if vm.run.link is not None:
                vm.run.link.probe(now_s)
        await next_second()
