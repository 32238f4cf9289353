"""Launch: taps and sockets, the stub, the launch record, the scope, the mask; then QEMU runs.

Order: the record is on disk before the stub is released, and only a released stub execs QEMU. So a daemon that dies at
any point leaves either nothing (the stub reads end-of-file and exits) or a QEMU with a readable record.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from attrs import evolve

from qsup.argv.option import Argv
from qsup.plan.guest_record import guest_record_of
from qsup.plan.vmplan import VmPlan
from qsup.process.launch import Stub, spawn_stub
from qsup.process.record import LaunchRecord, Stage, write_record
from qsup.process.state_dir import write_guest_record
from qsup.qmp.lifecycle_events import LifecycleEvent, Reset, Shutdown
from qsup.supervisor.announcing import note_phase
from qsup.supervisor.contain import contain, note_trouble
from qsup.supervisor.events import EventLog
from qsup.supervisor.notes import keep_record
from qsup.supervisor.opening import Opened, join_bridges, open_all
from qsup.supervisor.pool_growth import grow_pools
from qsup.supervisor.preparing import argv_of, record_of
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.services import Services
from qsup.supervisor.start_clock import StartClock
from qsup.supervisor.vm_state import RunSide, VmState

LINK_RETRY_S = 1.0


async def launch(services: Services, vm: VmState, nursery: trio.Nursery) -> None:
    """Bring a prepared VM to launched: QEMU runs, its vCPUs are held, its link is being made.

    Raises:
        KernelRefused: a tap, an image, a socket, the pages, the scope or the spawn was refused. Nothing runs then.
        QemuFailed: the stub did not live to be released.
    """
    plan = vm.run.plan
    assert plan is not None
    clock = vm.past.clock = vm.past.clock or StartClock()
    clock.mark("turn")
    caps = await services.caps.caps_of(services.settings.qemu)
    argv = argv_of(plan, caps)
    opened = await trio.to_thread.run_sync(open_all, plan, argv, clock.mark)
    try:
        words = argv.words(opened.bundle.numbers)
        stub = await _spawn(plan, words, opened)
    finally:
        opened.bundle.close()
    clock.mark("stub")
    try:
        # The stub takes its time to confine itself: what QEMU needs only when it runs is done meanwhile.
        services.reservations.note_growth(vm.name)
        await grow_pools(services.events, plan)
        clock.mark("pages")
        record = await _register(services, vm, plan, argv, words, stub, caps.version)
        stub.set_mask(plan.emulator)
        process = stub.release()
    except BaseException:
        await stub.abort()
        raise
    vm.run.record, vm.run.process = record, process
    vm.run.launched_spec = vm.config.spec
    services.reservations.note_process(vm.name, process.pid)
    latest = vm.run.plan
    if latest is not None and latest is not plan:  # a VM that came or went meanwhile has moved the shared pool
        vm.run.record = evolve(record, plan=latest)
        await keep_record(vm)
    clock.mark("spawn")
    follow(services, vm, nursery, greeted=False, held=True)


async def _spawn(plan: VmPlan, words: Sequence[str], opened: Opened) -> Stub:
    return await spawn_stub(
        words,
        pass_fds=opened.bundle.fds,
        vm_dir=plan.paths.run_dir,
        stderr_log=plan.paths.stderr_log,
        uid=plan.uid,
        groups=opened.groups,
    )


async def _register(
    services: Services,
    vm: VmState,
    plan: VmPlan,
    argv: Argv,
    words: Sequence[str],
    stub: Stub,
    qemu_version: tuple[int, int, int],
) -> LaunchRecord:
    """Write down what is about to run, remember the guest's hardware, join the bridges, and put the stub into its scope."""
    record = evolve(
        record_of(vm, plan, qemu_version),
        identity=stub.identity,
        argv=tuple(words),
        options=argv.options,
        scope=services.scopes.name_of(vm.name) if services.scopes is not None else None,
    )
    await trio.to_thread.run_sync(_write_and_join, services.policy.state_dir, plan, record)
    if services.scopes is not None:
        await services.scopes.start(vm.name, stub.pid, f"qsup VM {vm.name}")
    return record


def _write_and_join(state_dir: str, plan: VmPlan, record: LaunchRecord) -> None:
    write_guest_record(state_dir, plan.name, guest_record_of(plan))
    write_record(plan.paths.launch_record, record)
    join_bridges(plan)


async def note_stage(vm: VmState, stage: Stage) -> None:
    """Keep in the launch record how far the VM has come, for the daemon that may adopt it."""
    record = vm.run.record
    if record is not None and record.stage != stage:
        vm.run.record = evolve(record, stage=stage)
        await keep_record(vm)


def follow(services: Services, vm: VmState, nursery: trio.Nursery, *, greeted: bool, held: bool = False) -> None:
    """Begin to watch a QEMU: its monitor's link, and its end by its pidfd."""
    assert vm.run.plan is not None
    paths = vm.run.plan.paths

    def take(event: LifecycleEvent) -> None:
        if isinstance(event, Reset):
            run.qemu_reason = None
        elif isinstance(event, Shutdown) and run.qemu_reason is None:
            # The first one tells why; qsup's own quit after a guest's power-off comes as a second one.
            run.qemu_reason = event.reason

    run = vm.run
    run.link = QmpLink(
        paths.qmp_socket,
        paths.telemetry_socket,
        changed=vm.ring,
        on_event=take,
        patience_s=services.settings.unresponsive_after_s,
        greeted=greeted,
        held=held,
    )
    run.link_scope = trio.CancelScope()
    nursery.start_soon(_follow, services.events, vm, run, name=f"follow {vm.name}")


async def _follow(events: EventLog, vm: VmState, run: RunSide) -> None:
    """Order: `run` is that of the start; by the time that the task begins, the VM may have been let go and have another."""
    assert run.process is not None
    assert run.link is not None
    assert run.link_scope is not None
    with run.link_scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_link, events, vm, run.link)
            await run.process.wait_gone()
            run.gone = True
            # Not when its task comes round: nobody may see a VM that runs and has no process.
            note_phase(events, vm)
            nursery.cancel_scope.cancel()
    vm.ring()


async def _keep_link(events: EventLog, vm: VmState, link: QmpLink) -> None:
    """The link lives as long as the process, whatever QEMU says on it."""
    while True:
        error = await contain("following its monitor", link.run())
        if error is not None:
            note_trouble(events, vm, error)
        await trio.sleep(LINK_RETRY_S)
