"""VmState: all that the daemon holds of one VM while it watches it. Only the VM's own task and requests change it.

One exception: what a look finds, while the VM's task is in an action, is changed by the fleet's watch (docs/architecture.md).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import trio
from attrs import define, field

from qsup.errors import Problem, QmpLost, QsupError, Reason, Refused
from qsup.plan.vmplan import VmPlan
from qsup.process.handle import Ending, QemuProcess
from qsup.process.record import LaunchRecord
from qsup.reconcile.desired import Power
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.start_clock import StartClock
from qsup.supervisor.truth_side import TruthSide
from qsup.supervisor.view import ConfigState, StartView
from qsup.truth.observed import StopStage
from qsup.truth.starting import StartProgress
from qsup.truth.threads import LATE_CLASSES, ThreadIds, ThreadRow

KEPT_STARTS = 10


@define(eq=False)
class ConfigSide:
    """What its file says: the last good version stays in force while a newer one is invalid."""

    state: ConfigState = "absent"
    file: str | None = None
    text: str | None = None
    spec: VmSpec | None = None
    problems: tuple[Problem, ...] = ()


@define(eq=False)
class PowerSide:
    """What is wanted of it. `restart_pending`: off first, then on again. `writing` is held by who writes it down."""

    wanted: Power = "off"
    force: bool = False
    restart_pending: bool = False
    writing: trio.Lock = field(factory=trio.Lock)


@define(eq=False)
class RunSide:
    """What runs of it: set piece by piece while it starts, taken away by its release. `writing`: for its record."""

    plan: VmPlan | None = None
    record: LaunchRecord | None = None
    process: QemuProcess | None = None
    gone: bool = False
    link: QmpLink | None = None
    link_scope: trio.CancelScope | None = None
    ids: ThreadIds | None = None
    rows: tuple[ThreadRow, ...] = ()
    truth: TruthSide = field(factory=TruthSide)
    adopted: bool = False
    launched_spec: VmSpec | None = None
    qemu_reason: str | None = None
    stop_stage: StopStage = "none"
    stop_since_s: float | None = None
    started: bool = False
    unseen: bool = False
    silence_told: bool = False
    progress: StartProgress | None = None
    stillness_told: bool = False
    writing: trio.Lock = field(factory=trio.Lock)

    @property
    def placed(self) -> bool:
        """Every planned thread was seen where it belongs at the last look; once it runs: every planned thread is there.

        The threads of a running VM are tended at each tick; those that others move must not hold up anything else.
        """
        if self.ids is None or not self.rows:
            return False
        if self.started:
            return all(row.verdict != "missing" for row in self.rows)
        late = (row.verdict == "not placeable" and row.thread_class in LATE_CLASSES for row in self.rows)
        return all(row.verdict == "ok" or excused for row, excused in zip(self.rows, late, strict=True))

    def require_link(self) -> QmpLink:
        """The link to its QEMU.

        Raises:
            QmpLost: `supervisor.no-monitor`; nothing runs.
        """
        if self.link is None:
            raise QmpLost("supervisor.no-monitor", None, "no QEMU of this VM runs right now", outcome_known=True)
        return self.link

    def note_stop(self, stage: StopStage) -> None:
        """Stopping goes one step further, from now."""
        self.stop_stage = stage
        self.stop_since_s = trio.current_time()


@define(eq=False)
class PastSide:
    """What became of its starts. `failures_s` and `not_before_s` are moments of trio's clock."""

    failures_s: tuple[float, ...] = ()
    not_before_s: float = 0.0
    refusal: tuple[Reason, ...] = ()
    suggestions: tuple[str, ...] = ()
    warned: frozenset[str] = frozenset()
    trouble: QsupError | None = None
    trouble_count: int = 0
    restarts: int = 0
    given_up: str = ""
    starts: deque[StartView] = field(factory=lambda: deque(maxlen=KEPT_STARTS))
    clock: StartClock | None = None
    last_ending: Ending | None = None
    last_ending_code: str | None = None
    last_ending_text: str | None = None
    last_words: str | None = None

    def fresh_chance(self) -> None:
        """What failed before counts no more: an operator or a new version of the file says so."""
        self.failures_s = ()
        self.not_before_s = 0.0
        self.given_up = ""
        self.warned = frozenset()

    def finish_start(self, outcome: str) -> StartView | None:
        """The start that is under way ends here and is kept; None where none is timed (it was held, or adopted)."""
        clock, self.clock = self.clock, None
        if clock is None:
            return None
        start = clock.finished(outcome)
        self.starts.append(start)
        return start

    def note_trouble(self, error: QsupError) -> bool:
        """Keep what went wrong; False where it is the same as the last time (a refusal: amounts may differ)."""
        known = self.trouble
        self.trouble = error
        self.trouble_count += 1
        if not isinstance(error, Refused):
            self.refusal, self.suggestions = (), ()
        return known is None or _sameness_of(known) != _sameness_of(error)


def _sameness_of(error: QsupError) -> tuple[object, ...]:
    if isinstance(error, Refused):
        return tuple((reason.code, reason.host_node) for reason in error.reasons)
    return error.code, error.message


@define(eq=False)
class VmState:
    """One VM in the daemon. `ring` wakes its task; `wait_for` waits for a condition on it.

    `busy`: an action is under way, and `phase` is that of before it; it is in it since `phase_since_s` (Unix time), or
    `phase_entered_s` of the clock that never steps. `looking` is held by who looks at its
    threads.
    """

    name: str
    config: ConfigSide = field(factory=ConfigSide)
    power: PowerSide = field(factory=PowerSide)
    run: RunSide = field(factory=RunSide)
    past: PastSide = field(factory=PastSide)
    stray: str | None = None
    phase: str = "absent"
    phase_since_s: float = 0.0
    phase_entered_s: float = field(factory=time.monotonic)
    reason: str = ""
    forgotten: bool = False
    busy: bool = False
    console_taken: bool = False
    look_wanted: bool = True
    looking: trio.Lock = field(factory=trio.Lock)
    _bell: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)

    def enter(self, phase: str) -> None:
        """It is in this phase from now on. How long is told by the clock that never steps."""
        self.phase, self.phase_since_s, self.phase_entered_s = phase, time.time(), time.monotonic()

    def ring(self) -> None:
        """Something changed: the VM's task looks again."""
        self._bell.set()

    def want_look(self) -> None:
        """Its threads and logs are looked at: by its task as soon as it waits, by the fleet's watch where that takes long."""
        self.look_wanted = True
        self._bell.set()

    async def wait_bell(self) -> None:
        """Return at the first ring since the last call returned."""
        await self._bell.wait()
        self._bell = trio.Event()

    def publish(self) -> None:
        """Tell all who wait for a condition that the state may meet it now."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for(self, condition: Callable[[VmState], bool]) -> None:
        """Return once the condition holds; it is looked at after every change."""
        while not condition(self):
            await self._changed.wait()
