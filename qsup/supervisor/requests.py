"""Requests: what each lifecycle verb changes in what is wanted, and how its end is recognised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from attrs import frozen

from qsup.errors import BadRequest, InvalidInput, KernelRefused, QsupError
from qsup.qmp import verbs
from qsup.reconcile.desired import Power
from qsup.supervisor.notes import keep_power
from qsup.supervisor.observe import rules_of
from qsup.supervisor.services import Services
from qsup.supervisor.view import Outcome
from qsup.supervisor.vm_state import VmState

Verb = Literal["start", "stop", "restart", "reset", "pause", "resume"]
_UP = ("running", "paused", "placed", "io-error", "panicked", "unresponsive")


class Requests:
    """The verbs. Each takes effect before its first checkpoint; with `wait` it returns when that is done."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def act(self, vm: VmState, verb: Verb, *, paused: bool, force: bool, wait: bool) -> Outcome:
        """Serve one verb.

        Raises:
            BadRequest: it makes no sense now. Other QsupError: what kept it from being done.
        """
        if verb == "start":
            return await self._start(vm, paused=paused, wait=wait)
        if verb == "stop":
            return await self._stop(vm, force=force, wait=wait)
        if verb == "restart":
            return await self._restart(vm, force=force, wait=wait)
        table: dict[str, Callable[[VmState, bool], Awaitable[Outcome]]] = {
            "reset": self._reset,
            "pause": self._pause,
            "resume": self._resume,
        }
        return await table[verb](vm, wait)

    async def _start(self, vm: VmState, *, paused: bool, wait: bool) -> Outcome:
        _require_startable(vm)
        goal = ("paused", "placed") if paused else ("running",)
        wanted: Power = "paused" if paused else "on"
        # What runs is not paused by a start; what was paused or held is let go by one.
        enough = ("on", "paused") if paused else ("on",)
        if vm.phase in _UP and vm.power.wanted in enough and not _stopping(vm):
            return _outcome(vm, "start", False, f"already {vm.phase}")
        vm.past.fresh_chance()
        asked = await self._want(vm, wanted)
        done = "started, held before its first instruction" if paused else "started"
        return await self._finish(vm, "start", goal, done, wait, asked)

    async def _stop(self, vm: VmState, *, force: bool, wait: bool) -> Outcome:
        if vm.phase == "stray":
            raise BadRequest("supervisor.stray", f"{vm.name} is a stray process: {vm.stray}", "end it by hand")
        if _reached(vm, ("absent",)) and vm.power.wanted == "off":
            return _outcome(vm, "stop", False, "already off")
        vm.power.force = force
        vm.power.restart_pending = False
        asked = await self._want(vm, "off")
        return await self._finish(vm, "stop", ("absent",), "stopped", wait, asked)

    async def _restart(self, vm: VmState, *, force: bool, wait: bool) -> Outcome:
        _require_startable(vm)
        if vm.config.state == "removed":
            message = f"the file of {vm.name} is gone: it could not start again"
            raise BadRequest("supervisor.no-file", message, "put it back first")
        vm.past.fresh_chance()
        vm.power.force = force
        vm.power.restart_pending = vm.run.process is not None or vm.run.plan is not None
        asked = await self._want(vm, "on")
        if wait:
            await vm.wait_for(lambda state: not state.power.restart_pending)
        return await self._finish(vm, "restart", ("running",), "restarted", wait, asked)

    async def _reset(self, vm: VmState, wait: bool) -> Outcome:
        _require_phase(vm, "reset", ("running", "paused", "panicked", "io-error", "shut-down"))
        session = vm.run.require_link().require_control()
        await verbs.system_reset(session)
        if vm.phase in ("panicked", "io-error", "shut-down"):
            await verbs.cont(session)
        vm.ring()
        return _outcome(vm, "reset", True, "reset")

    async def _pause(self, vm: VmState, wait: bool) -> Outcome:
        if vm.phase in ("paused", "placed") and vm.power.wanted == "paused":
            return _outcome(vm, "pause", False, "already paused")
        _require_phase(vm, "pause", ("running", "paused", "held", "placed"))
        asked = await self._want(vm, "paused")
        return await self._finish(vm, "pause", ("paused", "placed"), "paused", wait, asked)

    async def _resume(self, vm: VmState, wait: bool) -> Outcome:
        if vm.phase == "running" and vm.power.wanted == "on":
            return _outcome(vm, "resume", False, "already running")
        _require_phase(vm, "resume", ("running", "paused", "held", "placed", "io-error"))
        asked = await self._want(vm, "on")
        if vm.phase == "io-error":
            await _retry_disk(vm)
        return await self._finish(vm, "resume", ("running",), "running", wait, asked)

    async def _want(self, vm: VmState, power: Power) -> _Asked:
        """Change what is wanted and write it down. An order is carried out also where it cannot be written down."""
        # Counted before the note is written: what fails meanwhile belongs to this request.
        asked = _Asked(power, vm.past.trouble_count)
        vm.power.wanted = power
        vm.ring()
        try:
            await keep_power(self._services.policy.state_dir, vm)
        except KernelRefused as refused:
            message = f"the order holds for this daemon only: {refused.message}"
            self._services.events.publish(refused.code, message, vm.name)
        return asked

    async def _finish(
        self, vm: VmState, verb: Verb, goal: tuple[str, ...], message: str, wait: bool, asked: _Asked
    ) -> Outcome:
        if not wait:
            return _outcome(vm, verb, True, "accepted")
        up = "absent" not in goal

        def settled(state: VmState) -> bool:
            return _reached(state, goal) or state.forgotten or asked.is_settled(state) or (up and _is_held(state))

        await vm.wait_for(settled)
        if _reached(vm, goal) or (vm.forgotten and not up):
            return _outcome(vm, verb, True, message)
        if vm.forgotten:
            raise BadRequest("supervisor.no-file", f"the file of {vm.name} was removed meanwhile", "put it back, and ask again")
        if up and _is_held(vm):
            raise _in_trouble(vm)
        if vm.power.wanted != asked.power:
            raise BadRequest(
                "supervisor.overtaken", f"before {verb} was done, {vm.name} was wanted {vm.power.wanted}", "look, and ask again"
            )
        trouble = vm.past.trouble
        raise trouble if trouble is not None else QsupError("supervisor.failed", f"{vm.name} did not {verb}")


@frozen
class _Asked:
    """What a request wanted, and how many troubles the VM had had by then."""

    power: Power
    troubles: int

    def is_settled(self, vm: VmState) -> bool:
        """It will not be reached any more: something failed, or somebody wants something else."""
        return vm.past.trouble_count != self.troubles or vm.power.wanted != self.power


async def _retry_disk(vm: VmState) -> None:
    """Let QEMU try again what the disk refused.

    Raises:
        QsupError: `supervisor.io-error-again`; it was refused again.
    """
    link = vm.run.require_link()
    before = link.io_error
    session = link.require_control()
    await verbs.cont(session)
    await link.refresh_status(session)
    vm.ring()
    await vm.wait_for(lambda state: state.phase != "io-error" or link.io_error is not before)
    if vm.phase == "io-error" and link.io_error is not None:
        failed = link.io_error
        where = failed.node_name or failed.device
        message = f"{vm.name} is held again: its {failed.operation} on {where} failed: {failed.reason}"
        hint = f"make room or mend the storage under it (`qsup status {vm.name}` has its path), then resume it"
        raise QsupError("supervisor.io-error-again", message, hint)


def _reached(vm: VmState, goal: tuple[str, ...]) -> bool:
    """The phase is one of the goal's. What is absent and busy is being prepared: it is not off yet."""
    preparing = vm.phase == "absent" and vm.busy
    return vm.phase in goal and not preparing and not vm.power.restart_pending


def _is_held(vm: VmState) -> bool:
    """It is where qsup does nothing more for it by itself, and only an operator can help."""
    if vm.busy:
        return False
    rules = rules_of(vm)
    by_policy = {"panicked": rules.on_panic, "io-error": rules.on_io_error, "unresponsive": "report"}
    return by_policy.get(vm.phase) == "report"


def _in_trouble(vm: VmState) -> QsupError:
    why = f": {vm.reason}" if vm.reason else ""
    hint = f"qsup status {vm.name} tells more; reset, resume or stop it"
    return QsupError("supervisor.in-trouble", f"{vm.name} is {vm.phase}{why}", hint)


def _stopping(vm: VmState) -> bool:
    return vm.run.stop_stage != "none" or vm.power.restart_pending


def _outcome(vm: VmState, verb: Verb, changed: bool, message: str) -> Outcome:
    return Outcome(vm.name, verb, changed, message, vm.phase)


def _require_startable(vm: VmState) -> None:
    if vm.phase == "stray":
        raise BadRequest("supervisor.stray", f"{vm.name} is a stray process: {vm.stray}", "end it by hand, then start again")
    if vm.run.process is None and vm.config.spec is None:
        if vm.config.problems:
            raise InvalidInput(vm.config.problems)
        raise BadRequest("supervisor.no-file", f"{vm.name} has no valid file", "drop its TOML file into the config directory")


def _require_phase(vm: VmState, verb: Verb, phases: tuple[str, ...]) -> None:
    if vm.phase not in phases:
        raise BadRequest(
            "supervisor.not-now",
            f"{vm.name} is {vm.phase}: {verb} works when it is {' or '.join(phases)}",
            f"qsup status {vm.name} tells more",
        )
