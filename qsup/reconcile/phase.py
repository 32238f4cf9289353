"""Phase: where a VM is in its life. Computed from what is seen, never stored."""

from __future__ import annotations

from typing import Literal

from qsup.truth.observed import ObservedVm

Phase = Literal[
    "absent",
    "prepared",
    "launched",
    "held",
    "placed",
    "running",
    "paused",
    "io-error",
    "panicked",
    "shut-down",
    "stopping",
    "unresponsive",
    "gone",
    "stray",
]

# QEMU's RunState (qapi/run-state.json) → phase. prelaunch is split by placement below.
_PHASE_OF_STATUS: dict[str, Phase] = {
    "running": "running",
    "suspended": "running",
    "watchdog": "panicked",
    "guest-panicked": "panicked",
    "internal-error": "panicked",
    "io-error": "io-error",
    "shutdown": "shut-down",
    "paused": "paused",
    "debug": "paused",
    "save-vm": "paused",
    "finish-migrate": "paused",
    "postmigrate": "paused",
    "restore-vm": "launched",
    "inmigrate": "launched",
    "colo": "running",
}


def phase_of(observed: ObservedVm) -> Phase:
    """The phase of what was seen. A stop under way shows as "stopping" until the guest is off or the process is gone."""
    if observed.stray:
        return "stray"
    if observed.process == "none":
        return "prepared" if observed.prepared else "absent"
    if observed.process == "gone":
        return "gone"
    return _phase_of_living(observed)


def _phase_of_living(observed: ObservedVm) -> Phase:
    if observed.stop_stage in ("terminated", "killed"):
        return "stopping"
    if observed.greeted and observed.silent_since_s is not None:
        return "unresponsive"
    if not observed.greeted or observed.qemu_status is None:
        return "launched"
    if observed.qemu_status == "prelaunch":
        return "placed" if observed.placed else "held"
    phase = _PHASE_OF_STATUS.get(observed.qemu_status, "paused")
    if observed.stop_stage == "asked" and phase in ("running", "paused"):
        return "stopping"
    return phase
