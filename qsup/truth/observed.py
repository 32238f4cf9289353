"""ObservedVm: what is known of one VM at one moment, from its process, its monitor and its threads."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

ProcessState = Literal["none", "alive", "gone"]
StopStage = Literal["none", "asked", "terminated", "killed"]


@frozen
class ObservedVm:
    """One VM as seen. Times are monotonic seconds of the observer's clock.

    `prepared`: its plan is reserved and its run directory, pages and log stand.
    `process` "gone" means that a launch record exists and its process has ended.
    `greeted`: QEMU's monitor has greeted at least once in the life of this process.
    `silent_since_s`: the moment since which a monitor that greeted once does not answer; None while it answers.
    `qemu_status`: QEMU's own RunState, None while it is unknown.
    `placed`: every thread's affinity was read back and equals the recorded plan; `drifted`: it once did and no longer does.
    `stop_stage` and `stop_since_s`: how far stopping has gone, and since when.
    """

    prepared: bool = False
    process: ProcessState = "none"
    stray: bool = False
    greeted: bool = False
    silent_since_s: float | None = None
    qemu_status: str | None = None
    placed: bool = False
    drifted: bool = False
    stop_stage: StopStage = "none"
    stop_since_s: float | None = None
