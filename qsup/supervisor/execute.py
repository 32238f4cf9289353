"""execute: each action of the closed set, done. One line of the table, one function; the long ones have files of their own."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from qsup.errors import QmpLost
from qsup.qmp import verbs
from qsup.reconcile import actions
from qsup.supervisor.announcing import note_phase
from qsup.supervisor.launching import follow, launch, note_stage
from qsup.supervisor.notes import keep_power
from qsup.supervisor.placing import place_threads
from qsup.supervisor.preparing import prepare
from qsup.supervisor.releasing import release
from qsup.supervisor.repinning import repin
from qsup.supervisor.services import Services
from qsup.supervisor.starting import wait_greeting
from qsup.supervisor.vm_state import VmState

Execute = Callable[[actions.Action, VmState], Awaitable[None]]
RESUME_TIMEOUT_S = 30.0


class Hands:
    """Does what was decided. Tests may wrap a Hands to fail or to stop at any step."""

    def __init__(self, services: Services, nursery: trio.Nursery) -> None:
        self._services = services
        self._nursery = nursery
        self._launches = trio.CapacityLimiter(services.settings.max_parallel_starts)
        self._table: dict[type[Any], Callable[[VmState], Awaitable[None]]] = {
            actions.Prepare: self._prepare,
            actions.Launch: self._launch,
            actions.Handshake: self._handshake,
            actions.PlaceThreads: self._place_threads,
            actions.Resume: self._resume,
            actions.Pause: self._pause,
            actions.ResetGuest: self._reset_guest,
            actions.PowerDown: self._power_down,
            actions.Quit: self._quit,
            actions.Terminate: self._terminate,
            actions.Kill: self._kill,
            actions.Release: self._release,
            actions.AcceptPowerOff: self._accept_power_off,
            actions.Forget: self._forget,
        }

    async def __call__(self, action: actions.Action, vm: VmState) -> None:
        """Do one action on one VM.

        Raises:
            QsupError: it could not be done; the VM is as it was, or further on.
        """
        await self._table[type(action)](vm)

    async def _prepare(self, vm: VmState) -> None:
        repins = await prepare(self._services, vm)
        await repin(self._services, repins)

    async def _launch(self, vm: VmState) -> None:
        try:
            async with self._launches:
                await launch(self._services, vm, self._nursery)
        except BaseException:
            if vm.run.process is None:
                with trio.CancelScope(shield=True):
                    await release(self._services, vm)
            raise

    async def _handshake(self, vm: VmState) -> None:
        """The link greets by itself, however long it takes: only wait for what it or the process has to tell."""
        if vm.run.link is None:
            follow(self._services, vm, self._nursery, greeted=False)
        await wait_greeting(self._services.events, vm)

    async def _place_threads(self, vm: VmState) -> None:
        if vm.past.clock is not None and not vm.run.started:
            vm.past.clock.mark("greeting")
        await place_threads(self._services, vm)
        if vm.past.clock is not None and not vm.run.started:
            vm.past.clock.mark("pin")
            if vm.power.wanted != "on":
                vm.past.finish_start("paused")
                await note_stage(vm, "greeted")

    async def _resume(self, vm: VmState) -> None:
        link = vm.run.require_link()
        session = link.require_control()
        await verbs.cont(session, timeout_s=RESUME_TIMEOUT_S)
        link.note_resumed()
        if not vm.run.started:
            self._note_started(vm)
            # Who waits for it is told before it is written down: a daemon that takes it over asks QEMU whether it runs.
            note_phase(self._services.events, vm)
            vm.publish()
            await note_stage(vm, "running")

    def _note_started(self, vm: VmState) -> None:
        vm.run.started = True
        vm.run.require_link().settle()
        vm.past.trouble = None
        if vm.past.clock is not None:
            vm.past.clock.mark("resume")
        start = vm.past.finish_start("running")
        took = f" after {start.total_ms:.0f} ms" if start is not None else ""
        self._services.events.publish("vm.started", f"running{took}", vm.name)

    async def _pause(self, vm: VmState) -> None:
        link = vm.run.require_link()
        session = link.require_control()
        await verbs.stop(session)
        await link.refresh_status(session)

    async def _reset_guest(self, vm: VmState) -> None:
        link = vm.run.require_link()
        session = link.require_control()
        await verbs.system_reset(session)
        await verbs.cont(session, timeout_s=RESUME_TIMEOUT_S)
        await link.refresh_status(session)
        self._services.events.publish("vm.reset", f"the guest was reset: {vm.reason}", vm.name)

    async def _power_down(self, vm: VmState) -> None:
        link = vm.run.require_link()
        session = link.require_control()
        if link.status != "running":
            await verbs.cont(session, timeout_s=RESUME_TIMEOUT_S)
        vm.run.note_stop("asked")  # its guest may be gone before QEMU's answer is here
        await verbs.system_powerdown(session)
        vm.run.note_stop("asked")  # a slow answer takes nothing from its grace period
        self._services.events.publish("vm.stopping", "asked the guest to power off", vm.name)
        await link.refresh_status(session)

    async def _quit(self, vm: VmState) -> None:
        vm.run.note_stop("terminated")
        try:
            await verbs.quit_(vm.run.require_link().require_control())
        except QmpLost:
            _signal(vm, signal.SIGTERM)

    async def _terminate(self, vm: VmState) -> None:
        vm.run.note_stop("terminated")
        self._services.events.publish("vm.terminating", "QEMU gets SIGTERM", vm.name)
        _signal(vm, signal.SIGTERM)

    async def _kill(self, vm: VmState) -> None:
        vm.run.note_stop("killed")
        self._services.events.publish("vm.killing", "QEMU gets SIGKILL", vm.name)
        _signal(vm, signal.SIGKILL)

    async def _release(self, vm: VmState) -> None:
        await release(self._services, vm)
        await repin(self._services, await self._services.reservations.repins())
        for other in self._services.fleet.values():
            if other.past.refusal:
                other.past.not_before_s = 0.0
                other.ring()

    async def _accept_power_off(self, vm: VmState) -> None:
        vm.power.wanted = "off"
        self._services.events.publish("vm.guest-powered-off", vm.reason, vm.name)
        await keep_power(self._services.policy.state_dir, vm)

    async def _forget(self, vm: VmState) -> None:
        vm.forgotten = True
        self._services.fleet.pop(vm.name, None)
        self._services.events.publish("vm.forgotten", "its file is gone and nothing of it runs", vm.name)


def _signal(vm: VmState, number: signal.Signals) -> None:
    if vm.run.process is not None:
        vm.run.process.send_signal(number)
