"""What is written down of a VM while it lives: its launch record, and the operator's order.

Strategy: several tasks may change what is to be written (two clients give orders, VMs that come and go move a shared one). Each
write waits for the one before it and then writes what holds by then: the last write is the newest, and no two meet in a file.
"""

from __future__ import annotations

from hashlib import sha256

import trio

from qsup.process.record import write_record
from qsup.process.state_dir import EndOrder, LeftDown, write_order
from qsup.supervisor.vm_state import VmState


async def keep_record(vm: VmState) -> None:
    """Write the launch record of what runs; nothing where nothing does.

    Raises:
        KernelRefused: process.write-refused, process.disk-full.

    Touches: the VM's run directory, in a worker thread.
    """
    run = vm.run
    async with run.writing:
        if run.record is not None and run is vm.run:
            await trio.to_thread.run_sync(write_record, run.record.plan.paths.launch_record, run.record)


async def keep_power(state_dir: str, vm: VmState) -> None:
    """Write what is wanted of the VM, and why it is left down.

    Raises:
        KernelRefused: process.state-dir-refused, process.write-refused, process.disk-full.

    Touches: the VM's note in the state directory, in a worker thread.
    """
    async with vm.power.writing:
        await trio.to_thread.run_sync(write_order, state_dir, vm.name, vm.power.wanted, _end_of(vm), _left_down_of(vm))


def _end_of(vm: VmState) -> EndOrder | None:
    """What a daemon that takes the VM over in the middle of it has to go on with."""
    power, process = vm.power, vm.run.process
    if process is None or not (power.restart_pending or power.force):
        return None
    return EndOrder(process.identity, power.restart_pending, power.force)


def _left_down_of(vm: VmState) -> LeftDown | None:
    return LeftDown(vm.past.given_up, digest_of(vm.config.text)) if vm.past.given_up else None


def digest_of(text: str | None) -> str:
    """By which a file is known again."""
    return sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()
