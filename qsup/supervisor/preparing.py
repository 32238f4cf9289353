"""Prepare: plan and reserve, make the run directory and the log. All or nothing."""

from __future__ import annotations

import time

import trio

import qsup
from qsup.argv.build import build
from qsup.argv.caps import QemuCaps
from qsup.argv.missing import missing_capabilities
from qsup.argv.option import Argv
from qsup.errors import InvalidInput
from qsup.plan.guest_record import hardware_changes
from qsup.plan.vmplan import VmPlan
from qsup.process.log_dir import open_log_dir
from qsup.process.procfs import boot_id
from qsup.process.record import LaunchRecord, write_record
from qsup.process.run_dir import create_vm_dir
from qsup.process.state_dir import ensure_uefi_vars
from qsup.supervisor.events import EventLog
from qsup.supervisor.releasing import take_away
from qsup.supervisor.services import Services
from qsup.supervisor.start_clock import StartClock
from qsup.supervisor.vm_state import VmState


async def prepare(services: Services, vm: VmState) -> tuple[VmPlan, ...]:
    """Bring the VM from absent to prepared.

    Returns:
        tuple of the plans of shared VMs that must change for it.

    Raises:
        Refused: it does not fit. QemuFailed: the binary is missing or too old. InvalidInput: the binary lacks what the file
        asks. KernelRefused: a directory or a mount could not be had. Nothing of it is left then.
    """
    spec = vm.config.spec
    assert spec is not None, "decide prepares only what has a valid spec"
    clock = vm.past.clock = StartClock()
    caps = await services.caps.caps_of(services.settings.qemu)
    clock.mark("caps")
    reservation = await services.reservations.reserve(spec, caps.machine_aliases, disk_queue_threads=caps.disk_queue_threads)
    plan, record = reservation.plan, reservation.record
    clock.mark("plan")
    try:
        argv_of(plan, caps)
        await trio.to_thread.run_sync(_make_directories, plan, record_of(vm, plan, caps.version))
        clock.mark("directories")
    except BaseException:
        with trio.CancelScope(shield=True):
            await take_away(services, plan)
        raise
    if record is not None:
        for sentence in hardware_changes(record, plan):
            services.events.publish("vm.hardware-changed", sentence, vm.name)
    publish_warnings(services.events, vm, plan)
    vm.past.refusal, vm.past.suggestions = (), ()
    vm.run.plan = plan
    return reservation.repins


def publish_warnings(events: EventLog, vm: VmState, plan: VmPlan) -> None:
    """Each kind of warning is an event once: not again at every restart, nor when other VMs have come or gone meanwhile."""
    for warning in plan.warnings:
        if warning.code not in vm.past.warned:
            events.publish(warning.code, warning.message, vm.name)
    vm.past.warned |= {warning.code for warning in plan.warnings}


def argv_of(plan: VmPlan, caps: QemuCaps) -> Argv:
    """The command line, once it is known that the binary can do it.

    Raises:
        InvalidInput: the binary lacks a machine, device or mode; each with the key that asks for it.
    """
    missing = missing_capabilities(plan, caps)
    if missing:
        raise InvalidInput(missing)
    return build(plan, caps)


def record_of(vm: VmState, plan: VmPlan, qemu_version: tuple[int, int, int]) -> LaunchRecord:
    """The launch record of a VM that is prepared and has no process yet."""
    return LaunchRecord(
        name=plan.name,
        stage="spawned",
        identity=None,
        argv=(),
        plan=plan,
        spec_text=vm.config.text or "",
        spec_file=vm.config.file or "",
        qemu_version=qemu_version,
        uid=plan.uid,
        scope=None,
        created_at_s=time.time(),
        boot_id=boot_id(),
        daemon_version=qsup.__version__,
    )


def _make_directories(plan: VmPlan, record: LaunchRecord) -> None:
    create_vm_dir(plan.paths)
    write_record(plan.paths.launch_record, record)
    open_log_dir(plan.paths.log_dir, plan.log_bytes)
    if plan.boot.uefi_vars is not None and plan.boot.uefi_vars_template is not None:
        ensure_uefi_vars(plan.boot.uefi_vars, plan.boot.uefi_vars_template)
