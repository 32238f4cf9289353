"""Who ended a QEMU, and how: the code that scripts act on and the sentence that people read."""

from __future__ import annotations

import pytest
from attrs import define

from qsup.process.handle import Ending
from qsup.supervisor.endings import FAILURES, UNSEEN, verdict_of
from qsup.supervisor.vm_state import RunSide
from qsup.truth.observed import StopStage

DONE = Ending(0, None, True, "exited with status 0")
SHOT = Ending(None, 9, True, "was killed by signal 9 (SIGKILL)")


@define
class Run:
    """What is known of a run when it ends."""

    started: bool = True
    stop_stage: StopStage = "none"
    reason: str | None = None
    unseen: bool = False

    def side(self) -> RunSide:
        return RunSide(started=self.started, stop_stage=self.stop_stage, qemu_reason=self.reason, unseen=self.unseen)


@pytest.mark.parametrize(
    ("run", "ending", "wanted_off", "code", "words"),
    [
        (Run(), SHOT, False, "vm.died", "was killed by signal 9 (SIGKILL) by itself"),
        (Run(), DONE, False, "vm.died", "exited with status 0 by itself"),
        (Run(reason="host-signal"), DONE, False, "vm.died", "somebody sent it a signal"),
        (Run(reason="host-qmp-quit"), DONE, True, "vm.died", "through its monitor"),
        (Run(reason="a-new-cause"), DONE, False, "vm.died", "status 0: a-new-cause"),
        (Run(started=False), DONE, False, "vm.start-failed", "before the guest ran"),
        (Run(unseen=True), SHOT, False, "vm.died-unseen", "while no daemon watched: it was killed by signal 9"),
        (Run(unseen=True), UNSEEN, False, "vm.died-unseen", "how is not known"),
        (Run(), UNSEEN, False, "vm.died-unseen", "how is not known"),
        (Run(stop_stage="asked"), DONE, True, "vm.stopped", "stopped"),
        (Run(stop_stage="terminated"), DONE, True, "vm.stopped", "stopped"),
        (Run(stop_stage="killed"), SHOT, True, "vm.killed", "had to be killed"),
        (Run(stop_stage="terminated"), DONE, False, "vm.ended-to-restart", "to start again"),
        (Run(stop_stage="terminated", reason="guest-shutdown"), DONE, False, "vm.guest-powered-off", "powered itself off"),
        (Run(stop_stage="terminated", reason="guest-shutdown"), DONE, True, "vm.stopped", "stopped"),
    ],
)
def test_verdicts(run: Run, ending: Ending, wanted_off: bool, code: str, words: str) -> None:
    said, text = verdict_of(run.side(), ending, wanted_off=wanted_off)
    assert said == code
    assert words in text
    assert (code in FAILURES) == code.startswith(("vm.died", "vm.start"))
