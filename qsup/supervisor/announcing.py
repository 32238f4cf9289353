"""Phases that somebody must hear of: each is said once, when it is entered, and a monitor's silence also when it ends."""

from __future__ import annotations

import json

from qsup.reconcile.phase import Phase, phase_of
from qsup.supervisor.events import EventLog
from qsup.supervisor.observe import observed_of
from qsup.supervisor.vm_state import VmState


def note_phase(events: EventLog, vm: VmState) -> None:
    """Take down the phase of what is held of the VM now, and say what its change means."""
    phase = phase_of(observed_of(vm))
    if phase != vm.phase:
        announce(events, vm, vm.phase, phase)
        vm.enter(phase)


def announce(events: EventLog, vm: VmState, before: str, after: Phase) -> None:
    """Publish what the change of phase means to an operator, if anything.

    An adopted VM is silent until its monitor is connected: that alone is no news.
    """
    if after == "unresponsive" and before != "absent":
        vm.run.silence_told = True
        events.publish("vm.unresponsive", "QEMU's monitor does not answer", vm.name)
        return
    if vm.run.silence_told and after != "unresponsive":
        vm.run.silence_told = False
        if after not in ("stopping", "gone"):
            events.publish("vm.responsive", "QEMU's monitor answers again", vm.name)
    if after == "panicked":
        events.publish("vm.panicked", "the guest panicked", vm.name, _panic_fields(vm))
    elif after == "io-error":
        events.publish("vm.io-error", "the guest is stopped: a disk of the host failed under it", vm.name, _disk_fields(vm))


def _panic_fields(vm: VmState) -> dict[str, str]:
    panic = vm.run.link.panic if vm.run.link is not None else None
    return {"info": json.dumps(panic.info)} if panic is not None and panic.info else {}


def _disk_fields(vm: VmState) -> dict[str, str]:
    error = vm.run.link.io_error if vm.run.link is not None else None
    if error is None:
        return {}
    return {"device": error.device, "node_name": error.node_name, "operation": error.operation, "why": error.reason}
