"""How a QEMU's end is named: a stable code and one sentence."""

from __future__ import annotations

from qsup.process.handle import Ending
from qsup.supervisor.vm_state import RunSide

UNSEEN = Ending(None, None, False, "ended; how is not known")

FAILURES = frozenset({"vm.start-failed", "vm.died", "vm.died-unseen"})
"""The codes of ends that nobody asked for: they count for back-off and the start limit."""


_REASONS = {
    "guest-panic": "the guest panicked",
    "guest-shutdown": "the guest powered itself off",
    "host-error": "it met an error of the host",
    "host-qmp-quit": "somebody told it to quit through its monitor",
    "host-signal": "somebody sent it a signal to end",
}
"""What QEMU itself said why it ends (ShutdownCause in qapi/run-state.json); another one is shown as it is."""


def verdict_of(run: RunSide, ending: Ending, *, wanted_off: bool) -> tuple[str, str]:
    """Who ended it, and how.

    Args:
        wanted_off: the operator (or a restart) wanted this QEMU to end.
    """
    if run.stop_stage == "killed":
        return "vm.killed", f"QEMU had to be killed: it {ending.text}"
    if run.qemu_reason == "guest-shutdown" and not wanted_off and run.stop_stage != "none":
        return "vm.guest-powered-off", "the guest powered itself off"
    if run.stop_stage != "none":
        return ("vm.stopped", "stopped") if wanted_off else ("vm.ended-to-restart", "QEMU was ended to start again")
    if run.unseen or not ending.known:
        how = f": it {ending.text}" if ending.known else "; how is not known"
        return "vm.died-unseen", f"QEMU ended while no daemon watched{how}"
    if not run.started:
        return "vm.start-failed", f"QEMU {ending.text} before the guest ran"
    return "vm.died", f"QEMU {ending.text}{_why(run.qemu_reason)}"


def _why(reason: str | None) -> str:
    return f": {_REASONS.get(reason, reason)}" if reason is not None else " by itself"
