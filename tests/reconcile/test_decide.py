"""The table of a VM's life, cell by cell, and what must hold in every state."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.reconcile.actions import (
    AcceptPowerOff,
    Action,
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
from qsup.reconcile.decide import FORCED_GRACE_S, TERMINATE_GRACE_S, decide
from qsup.reconcile.desired import Desired, Power
from qsup.reconcile.phase import Phase, phase_of
from qsup.spec.vm import VmSectionSpec
from qsup.truth.observed import ObservedVm

NOW_S = 1000.0


def alive(status: str | None = None, **more: object) -> ObservedVm:
    return ObservedVm(prepared=True, process="alive", greeted=status is not None, qemu_status=status, **more)  # type: ignore[arg-type]


SEEN: dict[Phase, ObservedVm] = {
    "absent": ObservedVm(),
    "prepared": ObservedVm(prepared=True),
    "launched": alive(),
    "held": alive("prelaunch"),
    "placed": alive("prelaunch", placed=True),
    "running": alive("running", placed=True),
    "paused": alive("paused", placed=True),
    "io-error": alive("io-error", placed=True),
    "panicked": alive("guest-panicked", placed=True),
    "shut-down": alive("shutdown", placed=True),
    "stopping": alive("running", placed=True, stop_stage="asked", stop_since_s=NOW_S),
    "unresponsive": alive("running", placed=True, silent_since_s=NOW_S - 9),
    "gone": ObservedVm(prepared=True, process="gone"),
    "stray": ObservedVm(stray=True),
}

TABLE: list[tuple[Phase, type[Action], type[Action], type[Action]]] = [
    # phase, wanted on, wanted paused, wanted off
    ("absent", Prepare, Prepare, Nothing),
    ("prepared", Launch, Launch, Release),
    ("launched", Handshake, Handshake, Terminate),
    ("held", PlaceThreads, PlaceThreads, Quit),
    ("placed", Resume, Nothing, Quit),
    ("running", Nothing, Pause, PowerDown),
    ("paused", Resume, Nothing, PowerDown),
    ("io-error", Nothing, Nothing, Quit),
    ("panicked", Nothing, Nothing, Quit),
    ("shut-down", AcceptPowerOff, Nothing, Quit),
    ("stopping", Nothing, Nothing, Nothing),
    ("unresponsive", Nothing, Nothing, Terminate),
    ("gone", Release, Release, Release),
    ("stray", Nothing, Nothing, Nothing),
]


def test_every_phase_has_an_observation_and_a_row() -> None:
    phases = set(typing.get_args(Phase))
    assert {phase_of(observed) for observed in SEEN.values()} == phases
    assert {row[0] for row in TABLE} == phases


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_the_table(row: tuple[Phase, type[Action], type[Action], type[Action]]) -> None:
    phase, *expected = row
    assert phase_of(SEEN[phase]) == phase
    powers: list[Power] = ["on", "paused", "off"]
    got = [type(decide(Desired(power), SEEN[phase], NOW_S).action) for power in powers]
    assert got == expected


def test_drift_is_put_back_while_it_runs_and_while_it_is_paused() -> None:
    moved = {"placed": False, "drifted": True}
    assert decide(Desired("on"), alive("running", **moved), NOW_S).action == PlaceThreads()
    assert decide(Desired("paused"), alive("paused", **moved), NOW_S).action == PlaceThreads()


@pytest.mark.parametrize(
    ("desired", "action", "look_again_at_s"),
    [
        (Desired("on", removed=True), Forget(), None),
        (Desired("off", removed=True), Forget(), None),
        (Desired("on", startable=False), Nothing(), None),
        (Desired("on", given_up="it failed 5 times"), Nothing(), None),
        (Desired("on", not_before_s=NOW_S + 3), Nothing(), NOW_S + 3),
        (Desired("on", not_before_s=NOW_S), Prepare(), None),
    ],
)
def test_when_an_absent_vm_starts(desired: Desired, action: Action, look_again_at_s: float | None) -> None:
    decision = decide(desired, ObservedVm(), NOW_S)
    assert (decision.action, decision.look_again_at_s) == (action, look_again_at_s)


def test_a_removed_vm_that_died_is_released_and_then_forgotten() -> None:
    removed = Desired("on", removed=True)
    assert decide(removed, SEEN["gone"], NOW_S).action == Release()
    assert decide(removed, ObservedVm(), NOW_S).action == Forget()


def test_a_removed_vm_that_runs_is_left_alone() -> None:
    assert decide(Desired("on", removed=True), SEEN["running"], NOW_S).action == Nothing()


def test_stopping_asks_then_terminates_then_kills_each_after_its_time() -> None:
    off = Desired("off", rules=VmSectionSpec(grace_period_s=20.0))
    assert decide(off, SEEN["running"], NOW_S).action == PowerDown()
    asked = alive("running", stop_stage="asked", stop_since_s=NOW_S)
    waits = decide(off, asked, NOW_S + 19)
    assert (waits.action, waits.look_again_at_s) == (Nothing(), NOW_S + 20)
    assert decide(off, asked, NOW_S + 20).action == Terminate()
    terminated = alive("running", stop_stage="terminated", stop_since_s=NOW_S)
    assert decide(off, terminated, NOW_S + TERMINATE_GRACE_S - 1).action == Nothing()
    assert decide(off, terminated, NOW_S + TERMINATE_GRACE_S).action == Kill()
    assert decide(off, alive("running", stop_stage="killed", stop_since_s=NOW_S), NOW_S + 99).action == Nothing()


def test_a_forced_stop_asks_nobody() -> None:
    off = Desired("off", force=True)
    assert decide(off, SEEN["running"], NOW_S).action == Quit()
    assert decide(off, alive("running", stop_stage="asked", stop_since_s=NOW_S), NOW_S).action == Terminate()
    terminated = alive("running", stop_stage="terminated", stop_since_s=NOW_S)
    assert decide(off, terminated, NOW_S + FORCED_GRACE_S).action == Kill()


def test_a_guest_that_followed_the_power_button_is_quit_at_once() -> None:
    assert decide(Desired("off"), alive("shutdown", stop_stage="asked", stop_since_s=NOW_S), NOW_S).action == Quit()


def test_a_hanging_qemu_is_ended_without_its_monitor() -> None:
    hung = alive("running", silent_since_s=NOW_S - 30)
    assert decide(Desired("off"), hung, NOW_S).action == Terminate()
    terminated = alive("running", silent_since_s=NOW_S - 30, stop_stage="terminated", stop_since_s=NOW_S)
    assert decide(Desired("off"), terminated, NOW_S + TERMINATE_GRACE_S).action == Kill()


def test_an_adopted_guest_is_asked_to_power_off_not_cut_off() -> None:
    just_adopted = ObservedVm(prepared=True, process="alive", greeted=True)
    assert decide(Desired("off"), just_adopted, NOW_S).action == Handshake()


@pytest.mark.parametrize(("policy", "action"), [("report", Nothing()), ("reset", ResetGuest()), ("restart", Quit())])
@pytest.mark.parametrize(("key", "phase"), [("on_panic", "panicked"), ("on_io_error", "io-error")])
def test_panic_and_io_error_follow_their_policy(policy: str, action: Action, key: str, phase: Phase) -> None:
    rules = VmSectionSpec(**{key: policy})  # type: ignore[arg-type]
    assert decide(Desired("on", rules=rules), SEEN[phase], NOW_S).action == action


@pytest.mark.parametrize(
    ("restart", "action"), [("always", Quit()), ("on-failure", AcceptPowerOff()), ("never", AcceptPowerOff())]
)
def test_a_guest_that_powers_off_comes_back_only_by_policy(restart: str, action: Action) -> None:
    rules = VmSectionSpec(restart=restart)  # type: ignore[arg-type]
    assert decide(Desired("on", rules=rules), SEEN["shut-down"], NOW_S).action == action


observations = st.builds(
    ObservedVm,
    prepared=st.booleans(),
    process=st.sampled_from(["none", "alive", "gone"]),
    stray=st.booleans(),
    greeted=st.booleans(),
    silent_since_s=st.none() | st.floats(0, 2000),
    qemu_status=st.none() | st.sampled_from(["prelaunch", "running", "paused", "shutdown", "io-error", "future-state"]),
    placed=st.booleans(),
    drifted=st.booleans(),
    stop_stage=st.sampled_from(["none", "asked", "terminated", "killed"]),
    stop_since_s=st.none() | st.floats(0, 2000),
)
wishes = st.builds(
    Desired,
    power=st.sampled_from(["on", "paused", "off"]),
    force=st.booleans(),
    removed=st.booleans(),
    startable=st.booleans(),
    not_before_s=st.floats(0, 2000),
    given_up=st.sampled_from(["", "it failed"]),
)


@given(wishes, observations, st.floats(0, 2000))
def test_what_holds_everywhere(desired: Desired, observed: ObservedVm, now_s: float) -> None:
    decision = decide(desired, observed, now_s)
    assert decision == decide(desired, observed, now_s)
    action = decision.action
    if observed.stray:
        assert action == Nothing(), "a stray is never touched"
    if isinstance(action, Kill | Terminate | Quit | PowerDown):
        assert observed.process == "alive"
    if isinstance(action, Prepare | Launch):
        assert observed.process == "none", "what may still run is never started twice"
    if isinstance(action, Prepare):
        assert (desired.startable, desired.removed, desired.given_up) == (True, False, "")
        assert now_s >= desired.not_before_s
    if isinstance(action, Kill):
        assert observed.stop_stage == "terminated", "nothing is killed that was not terminated before"
    if decision.look_again_at_s is not None:
        assert action == Nothing()
        assert decision.look_again_at_s > now_s
