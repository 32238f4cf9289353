"""Adoption: what an earlier daemon left is taken over by its launch record, never by a new plan."""

from __future__ import annotations

import time
from functools import partial

import trio

from qsup.errors import InvalidInput, QsupError
from qsup.process.adopt import Found, scan
from qsup.process.record import LaunchRecord
from qsup.process.run_dir import remove_vm_dir_at
from qsup.process.state_dir import read_order
from qsup.spec.parse import parse_vm
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.contain import contain, contain_call
from qsup.supervisor.launching import follow
from qsup.supervisor.pool_growth import settle_growth
from qsup.supervisor.registry import Supervisor
from qsup.supervisor.releasing import take_away
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import PowerSide, VmState


async def adopt_all(
    services: Services, supervisor: Supervisor, nursery: trio.Nursery, order: PowerSide | None = None
) -> int:
    """Look into the run directory and take over what is there, before any VM file is read.

    Args:
        order: what is wanted of every VM from its first moment on; None: what was ordered for each.

    Returns:
        How many VMs run and were taken over.

    Touches: the run directory, /proc.
    """
    adopted = 0
    everything = await trio.to_thread.run_sync(scan, services.policy.run_dir)
    for found in everything:
        if found.record is not None:
            error = contain_call("settling its pages", partial(settle_growth, found.record.plan.paths))
            _tell(services, found, error)
    for found in everything:
        if found.strays or found.unreadable is not None:
            vm = _leave_alone(services, found)
        elif found.record is None or found.record.identity is None:
            _tell(services, found, await contain("clearing away what was half made", _undo_half_made(services, found)))
            continue
        else:
            vm = _take(services, found, found.record, nursery, order)
            adopted += vm.run.process is not None and not vm.run.gone
        supervisor.add(vm)
    return adopted


def _tell(services: Services, found: Found, error: QsupError | None) -> None:
    """What is damaged in one VM's directory keeps no other from being adopted."""
    if error is not None:
        services.events.publish(error.code, error.message, found.name)


async def _undo_half_made(services: Services, found: Found) -> None:
    """A daemon died while it prepared: no process was made, and how far it came need not be known to undo it."""
    if found.record is not None:
        await take_away(services, found.record.plan)
    else:
        await trio.to_thread.run_sync(remove_vm_dir_at, found.vm_dir)


def _leave_alone(services: Services, found: Found) -> VmState:
    """A process without a readable record is nobody's: said, and not touched."""
    vm = VmState(found.name, phase_since_s=time.time())
    pids = ", ".join(str(identity.pid) for identity in found.strays)
    why = found.unreadable.reason if found.unreadable is not None else "it has no launch record of its own"
    vm.stray = f"{f'process {pids} lives' if pids else 'no process lives'} in {found.vm_dir}, but {why}"
    if found.process is not None:
        found.process.close()
    services.events.publish("vm.stray", f"left alone: {vm.stray}", vm.name)
    return vm


def _take(
    services: Services, found: Found, record: LaunchRecord, nursery: trio.Nursery, order: PowerSide | None
) -> VmState:
    vm = VmState(found.name, phase_since_s=time.time())
    run = vm.run
    run.plan = record.plan
    vm.config.file = record.spec_file or None
    vm.config.spec = run.launched_spec = _spec_of(record)
    vm.config.text = record.spec_text if vm.config.spec is not None else None
    if order is not None:
        vm.power = PowerSide(order.wanted, order.force)
    else:
        _recall_order(services.policy.state_dir, vm, record)
    services.reservations.hold(record.plan)
    run.record = record
    run.started = record.stage == "running"
    run.process = found.process
    run.gone = run.unseen = found.process is None or not found.process.is_alive()
    if run.gone or found.process is None:
        return vm
    run.adopted = True
    services.reservations.note_process(vm.name, found.process.pid)
    follow(services, vm, nursery, greeted=record.stage != "spawned")
    services.events.publish("vm.adopted", f"process {found.process.pid} is taken over", vm.name)
    return vm


def _spec_of(record: LaunchRecord) -> VmSpec | None:
    """What it was launched from: the last good version of its file until the file itself is read."""
    try:
        return parse_vm(record.spec_text, file=record.spec_file, name=record.name)
    except InvalidInput:
        return None


def _recall_order(state_dir: str, vm: VmState, record: LaunchRecord) -> None:
    """An operator's order holds, and one to end this very process is gone on with. Without one, what runs is wanted to run."""
    try:
        order = read_order(state_dir, record.name)
    except QsupError:
        order = None
    vm.power.wanted = order.power if order is not None else "on"
    if order is not None and order.end is not None and order.end.identity == record.identity:
        vm.power.restart_pending, vm.power.force = order.end.restart, order.end.force
