"""decide: power wanted × phase → one action. The table below is the whole life of a VM; read it first.

    phase         wanted on               wanted paused           wanted off
    absent        prepare                 prepare                 –
    prepared      launch                  launch                  release
    launched      handshake               handshake               terminate (handshake, where it greeted an earlier daemon)
    held          place threads           place threads           quit
    placed        resume                  –                       quit
    running       – (re-place drift)      pause                   power down
    paused        resume                  – (re-place drift)      power down (quit when forced)
    io-error      policy                  –                       quit
    panicked      policy                  –                       quit
    shut-down     policy                  –                       quit
    stopping      wait, then harder       wait, then harder       wait, then harder
    unresponsive  –                       –                       terminate, then kill
    gone          release                 release                 release
    stray         –                       –                       –

Source: QEMU qapi/run-state.json for the states behind the phases.
"""

from __future__ import annotations

from collections.abc import Callable

from qsup.reconcile.actions import (
    AcceptPowerOff,
    Decision,
    Forget,
    Handshake,
    Kill,
    Launch,
    Nothing,
    Pause,
    PlaceThreads,
    PowerDown,
    Prepare,
    Quit,
    Release,
    ResetGuest,
    Resume,
    Terminate,
)
from qsup.reconcile.desired import Desired, Power
from qsup.reconcile.phase import Phase, phase_of
from qsup.truth.observed import ObservedVm

TERMINATE_GRACE_S = 10.0
"""Seconds between SIGTERM and SIGKILL: QEMU needs them to flush its images, not to ask the guest."""

FORCED_GRACE_S = 3.0
"""The same when the operator forces the stop."""

Rule = Callable[[Desired, ObservedVm, float], Decision]


def decide(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    """The next step for one VM. Equal inputs give equal answers; any step may be repeated."""
    phase = phase_of(observed)
    if phase == "stopping":
        return _stopping(desired, observed, now_s)
    return _TABLE[phase][desired.power](desired, observed, now_s)


def _do(action: Callable[[], object]) -> Rule:
    decision = Decision(action())  # type: ignore[arg-type]
    return lambda desired, observed, now_s: decision


def _begin(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    if desired.removed:
        return Decision(Forget())
    if not desired.startable:
        return Decision(Nothing(), reason="its file is not valid")
    if desired.given_up:
        return Decision(Nothing(), reason=desired.given_up)
    if now_s < desired.not_before_s:
        return Decision(Nothing(), look_again_at_s=desired.not_before_s, reason="waiting before the next start")
    return Decision(Prepare())


def _rest(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    return Decision(Forget()) if desired.removed else Decision(Nothing())


def _keep_placed(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    return Decision(PlaceThreads()) if observed.drifted or not observed.placed else Decision(Nothing())


def _end_unheard(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    """A QEMU that never greeted has no guest to ask; one that is just being adopted has, once its monitor is connected."""
    return Decision(Handshake()) if observed.greeted else Decision(Terminate())


def _power_down(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    return Decision(Quit()) if desired.force else Decision(PowerDown())


def _after_panic(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    return _by_policy(desired.rules.on_panic, "the guest panicked")


def _after_io_error(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    return _by_policy(desired.rules.on_io_error, "a disk reported an I/O error")


def _by_policy(policy: str, reason: str) -> Decision:
    if policy == "reset":
        return Decision(ResetGuest(), reason=reason)
    if policy == "restart":
        return Decision(Quit(), reason=reason)
    return Decision(Nothing(), reason=reason)


def _after_power_off(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    if desired.rules.restart == "always" and not desired.removed:
        return Decision(Quit(), reason="the guest powered off and its policy starts it again")
    return Decision(AcceptPowerOff(), reason="the guest powered off and its policy leaves it so")


def _stopping(desired: Desired, observed: ObservedVm, now_s: float) -> Decision:
    """The guest was asked; then QEMU is terminated, then killed: each after its own time."""
    since_s = observed.stop_since_s if observed.stop_since_s is not None else now_s
    if observed.stop_stage == "asked":
        grace_s = 0.0 if desired.force else desired.rules.grace_period_s
        return _when(since_s + grace_s, now_s, Terminate())
    if observed.stop_stage == "terminated":
        return _when(since_s + (FORCED_GRACE_S if desired.force else TERMINATE_GRACE_S), now_s, Kill())
    return Decision(Nothing())


def _when(moment_s: float, now_s: float, action: Terminate | Kill) -> Decision:
    return Decision(action) if now_s >= moment_s else Decision(Nothing(), look_again_at_s=moment_s)


_nothing = _do(Nothing)
_quit = _do(Quit)

_TABLE: dict[Phase, dict[Power, Rule]] = {
    "absent": {"on": _begin, "paused": _begin, "off": _rest},
    "prepared": {"on": _do(Launch), "paused": _do(Launch), "off": _do(Release)},
    "launched": {"on": _do(Handshake), "paused": _do(Handshake), "off": _end_unheard},
    "held": {"on": _do(PlaceThreads), "paused": _do(PlaceThreads), "off": _quit},
    "placed": {"on": _do(Resume), "paused": _nothing, "off": _quit},
    "running": {"on": _keep_placed, "paused": _do(Pause), "off": _power_down},
    "paused": {"on": _do(Resume), "paused": _keep_placed, "off": _power_down},
    "io-error": {"on": _after_io_error, "paused": _nothing, "off": _quit},
    "panicked": {"on": _after_panic, "paused": _nothing, "off": _quit},
    "shut-down": {"on": _after_power_off, "paused": _nothing, "off": _quit},
    "stopping": {"on": _nothing, "paused": _nothing, "off": _nothing},
    "unresponsive": {"on": _nothing, "paused": _nothing, "off": _do(Terminate)},
    "gone": {"on": _do(Release), "paused": _do(Release), "off": _do(Release)},
    "stray": {"on": _nothing, "paused": _nothing, "off": _nothing},
}
