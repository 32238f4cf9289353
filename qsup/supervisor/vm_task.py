"""One VM's task: observe → decide → execute, until nothing differs; then wait for a reason to look again.

A reason is: the VM's bell (a QMP event, the pidfd, its file, a request, the fleet's watch), or the moment that the decision
named.
"""

from __future__ import annotations

import math

import trio
from attrs import define

from qsup.errors import Refused
from qsup.reconcile.actions import Action, Decision, Nothing
from qsup.reconcile.decide import decide
from qsup.supervisor.announcing import note_phase
from qsup.supervisor.contain import contain, note_trouble
from qsup.supervisor.execute import Execute
from qsup.supervisor.observe import desired_of, observed_of
from qsup.supervisor.services import Services
from qsup.supervisor.upkeep import look_after
from qsup.supervisor.vm_state import VmState

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
    note_phase(services.events, vm)
    decision = decide(desired_of(vm), observed_of(vm), trio.current_time())
    vm.reason = decision.reason
    vm.publish()
    return decision


async def _wait(services: Services, vm: VmState, look_again_at_s: float | None) -> None:
    """Until the bell or the moment; where a look is wanted, it is taken before anything else is decided."""
    with trio.move_on_at(math.inf if look_again_at_s is None else look_again_at_s):
        await vm.wait_bell()
    if vm.look_wanted:
        await look_after(services, vm)


async def _execute(services: Services, vm: VmState, action: Action, execute: Execute) -> None:
    vm.busy = True
    try:
        error = await contain(type(action).__name__, execute(action, vm))
    finally:
        vm.busy = False
    if isinstance(error, Refused):
        vm.past.refusal, vm.past.suggestions = error.reasons, error.suggestions
        vm.past.not_before_s = trio.current_time() + REFUSED_RETRY_S
    if error is not None:
        note_trouble(services.events, vm, error)
    vm.publish()
