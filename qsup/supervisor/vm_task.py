"""One VM's task: observe → decide → execute, until nothing differs; then wait for a reason to look again.

A reason is: the VM's bell (a QMP event, the pidfd, its file, a request), the moment that the decision named, or the tick.
This is the one place where any exception of a VM is caught, so that it reaches no other VM.
"""

from __future__ import annotations

import time
import traceback

import trio
from attrs import define

from qsup.errors import KernelRefused, QsupError, Refused
from qsup.reconcile.actions import Action, Decision, Nothing
from qsup.reconcile.decide import decide
from qsup.reconcile.phase import phase_of
from qsup.supervisor.announcing import announce
from qsup.supervisor.execute import Execute
from qsup.supervisor.observe import desired_of, observed_of
from qsup.supervisor.services import Services
from qsup.supervisor.upkeep import look_after
from qsup.supervisor.vm_state import VmState

TICK_S = 1.0
FIRST_RETRY_S = 0.01
LAST_RETRY_S = 5.0
REFUSED_RETRY_S = 10.0


@define
class _Pace:
    """The same action decided twice in a row waits in between, longer each time: nothing spins on what does not help."""

    last: type[Action] | None = None
    delay_s: float = 0.0

    def delay_before(self, action: Action) -> float:
        if type(action) is not self.last:
            self.last, self.delay_s = type(action), 0.0
            return 0.0
        self.delay_s = min(max(self.delay_s * 2, FIRST_RETRY_S), LAST_RETRY_S)
        return self.delay_s


async def run_vm(services: Services, vm: VmState, execute: Execute) -> None:
    """Watch over one VM until it is forgotten. What goes wrong becomes an event of this VM and nothing else."""
    pace = _Pace()
    while not vm.forgotten:
        decision = _decide(services, vm)
        if isinstance(decision.action, Nothing):
            pace = _Pace()
            await _wait(services, vm, decision.look_again_at_s)
            continue
        delay_s = pace.delay_before(decision.action)
        if delay_s:
            await _wait(services, vm, trio.current_time() + delay_s)
            if type(_decide(services, vm).action) is not type(decision.action):
                continue
        await _execute(services, vm, decision.action, execute)


def _decide(services: Services, vm: VmState) -> Decision:
    now_s = trio.current_time()
    observed = observed_of(vm)
    phase = phase_of(observed)
    decision = decide(desired_of(vm), observed, now_s)
    if phase != vm.phase:
        announce(services.events, vm, vm.phase, phase)
        vm.phase, vm.phase_since_s = phase, time.time()
    vm.reason = decision.reason
    vm.publish()
    return decision


async def _wait(services: Services, vm: VmState, look_again_at_s: float | None) -> None:
    """Until the bell, the moment, or the tick; at the tick the VM's threads and logs are looked at."""
    now_s = trio.current_time()
    until_s = now_s + TICK_S if look_again_at_s is None else min(look_again_at_s, now_s + TICK_S)
    with trio.move_on_at(until_s) as scope:
        await vm.wait_bell()
    if scope.cancelled_caught:
        _look_after(services, vm)


def _look_after(services: Services, vm: VmState) -> None:
    try:
        look_after(vm)
    except (OSError, KernelRefused):
        return  # the process may end while it is looked at, and its log be full: the next tick looks again
    except Exception as error:
        _note_trouble(services, vm, _bug("looking after it", error))


async def _execute(services: Services, vm: VmState, action: Action, execute: Execute) -> None:
    try:
        await execute(action, vm)
    except Refused as refused:
        vm.past.refusal = refused.reasons
        _note_trouble(services, vm, refused)
        vm.past.not_before_s = trio.current_time() + REFUSED_RETRY_S
    except QsupError as error:
        _note_trouble(services, vm, error)
    except Exception as error:
        _note_trouble(services, vm, _bug(type(action).__name__, error))
    vm.publish()


def _bug(deed: str, error: Exception) -> QsupError:
    fault = QsupError("supervisor.bug", f"{deed} failed: {error!r}")
    fault.__cause__ = error
    return fault


def _note_trouble(services: Services, vm: VmState, error: QsupError) -> None:
    """Say it once: the same trouble again and again is one event and a count."""
    if vm.past.note_trouble(error):
        fields = {"hint": error.hint} if error.hint else {}
        if error.code == "supervisor.bug" and error.__cause__ is not None:
            fields["traceback"] = "".join(traceback.format_exception(error.__cause__))
        services.events.publish(error.code, error.message, vm.name, fields)
