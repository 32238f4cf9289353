"""The link to one QEMU: both monitor connections kept up, its state followed, its silence timed.

The control connection carries what qsup itself does and QEMU's events; the telemetry connection carries the regular
probe and what operators ask, so that a slow question of theirs never stands before a lifecycle command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from qsup.errors import KernelRefused, QmpLost, QmpRefused
from qsup.qmp import verbs
from qsup.qmp.connect import connect_unix
from qsup.qmp.lifecycle_events import BlockIoError, GuestPanicked, LifecycleEvent, NicRxFilterChanged, lifecycle_event_of
from qsup.qmp.messages import Answer
from qsup.qmp.request import Outcome
from qsup.qmp.results import RunStatus
from qsup.qmp.session import QmpSession, open_session
from qsup.qmp.shapes import Shape

CONNECT_TIMEOUT_S = 5.0
RECONNECT_DELAY_S = 0.5
SETTLE_TIMEOUT_S = 5.0
SETTLED_PAUSE_S = 0.05
HELD_STATUS = "prelaunch"
PROBES_APART = 2
"""Between an answer and the next question, in patiences."""


_QUIET = (KernelRefused, QmpLost, QmpRefused)
Serve = Callable[[QmpSession], Awaitable[None]]


class QmpLink:
    """What is known of a QEMU through its monitor.

    `greeted`: it has greeted once in its life. `silent_since_s`: since when (trio's clock) it has not answered, None while
    it does; it has `patience_s` to answer. `status`: its RunState as last told. `panic`: what the
    guest left when it panicked. `io_error`: the disk error that stopped it.
    """

    def __init__(
        self,
        qmp_socket: str,
        telemetry_socket: str,
        *,
        changed: Callable[[], None],
        on_event: Callable[[LifecycleEvent], None],
        patience_s: float,
        greeted: bool = False,
        held: bool = False,
    ) -> None:
        """`held`: this QEMU was just launched with -S, and nobody but this link lets it go: it need not be asked."""
        self._qmp_socket = qmp_socket
        self._telemetry_socket = telemetry_socket
        self._changed = changed
        self._on_event = on_event
        self._patience_s = patience_s
        self.greeted = greeted
        self._held = held
        self.control: QmpSession | None = None
        self.telemetry: QmpSession | None = None
        self.status: str | None = None
        self.silent_since_s: float | None = None
        self.panic: GuestPanicked | None = None
        self.io_error: BlockIoError | None = None
        self._telemetry_up = trio.Event()
        self._probe_due_s = 0.0
        self._asked_at_s: float | None = None
        self._asked = False
        self._settled = trio.Event()
        if greeted:
            self._settled.set()

    def settle(self) -> None:
        """The start is over: from now on there is time for a second connection and for probes."""
        self._settled.set()

    async def run(self) -> None:
        """Keep both connections up for ever; the owner cancels when the process is gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_up, self._qmp_socket, self._serve_control)
            nursery.start_soon(self._keep_telemetry_up)

    async def _keep_up(self, path: str, serve: Serve) -> None:
        while True:
            began_s = trio.current_time()
            served = False
            try:
                stream = await connect_unix(path, timeout_s=CONNECT_TIMEOUT_S)
                async with open_session(stream, greeting_timeout_s=self._greeting_timeout_s()) as session:
                    served = True
                    await serve(session)
            except _QUIET:
                # A connection that ends is made again at once; silence is when no new one can be had.
                if not served:
                    self._note_silent(began_s)
            await trio.sleep(RECONNECT_DELAY_S)

    async def _keep_telemetry_up(self) -> None:
        with trio.move_on_after(SETTLE_TIMEOUT_S):
            await self._settled.wait()
            await trio.sleep(SETTLED_PAUSE_S)  # whoever waits for the start hears of it first
        await self._keep_up(self._telemetry_socket, self._serve_telemetry)

    def _greeting_timeout_s(self) -> float | None:
        """Before its first greeting QEMU may be moving pages for any time; after it, silence means trouble."""
        return 2 * self._patience_s if self.greeted else None

    def _note_silent(self, since_s: float) -> None:
        if self.greeted and self.silent_since_s is None:
            self.silent_since_s = since_s
            self._changed()

    def _note_answer(self) -> None:
        if self.silent_since_s is not None:
            self.silent_since_s = None
            self._changed()

    async def _serve_control(self, session: QmpSession) -> None:
        self.control = session
        try:
            if self._held:
                self.status, self._held = HELD_STATUS, False
            else:
                await self.refresh_status(session)
            self.greeted = True
            self._note_answer()
            self._changed()
            async for event in session.events():
                lifecycle = lifecycle_event_of(event)
                if lifecycle is not None and not isinstance(lifecycle, NicRxFilterChanged):
                    await self._take(session, lifecycle)
        finally:
            self.control = None

    async def _take(self, session: QmpSession, event: LifecycleEvent) -> None:
        if isinstance(event, GuestPanicked):
            self.panic = event
        if isinstance(event, BlockIoError) and event.action == "stop":
            self.io_error = event
        self._on_event(event)
        await self.refresh_status(session)
        self._changed()

    async def _serve_telemetry(self, session: QmpSession) -> None:
        self.telemetry = session
        self._telemetry_up.set()
        self._asked_at_s, self._probe_due_s = None, 0.0
        self.probe(trio.current_time())
        try:
            await session.wait_closed()
        finally:
            self.telemetry = None
            self._telemetry_up = trio.Event()

    def probe(self, now_s: float) -> None:
        """Ask QEMU for its RunState where that is due; note where it has not answered in time, or cannot even be asked.

        Touches: QMP query-status on the telemetry connection. Nobody waits for the answer: it is taken when it comes.
        """
        session = self.telemetry
        if session is None or now_s < self._probe_due_s:
            return
        if self._asked_at_s is None:
            self._asked_at_s, self._asked = now_s, False
        if not self._asked:
            self._asked = session.post("query-status", self._take_outcome)
        if self._asked_at_s is not None and now_s - self._asked_at_s >= self._patience_s:
            self._note_silent(self._asked_at_s)

    def _take_outcome(self, outcome: Outcome) -> None:
        """What became of the probe. A connection that ended is made again: that tells whether QEMU is silent."""
        self._asked_at_s = None
        if isinstance(outcome, QmpLost):
            return
        self._probe_due_s = trio.current_time() + PROBES_APART * self._patience_s
        self._note_answer()
        with suppress(QmpRefused):
            if self.control is not None and isinstance(outcome, Answer):
                self._take_status(RunStatus.of(Shape("query-status", outcome.value)).status)

    def _take_status(self, status: str) -> None:
        if status != self.status:
            self.status = status
            self._changed()

    def note_resumed(self) -> None:
        """QEMU has answered "cont": it runs. What stops it again comes as an event.

        Source: QEMU 7.2, monitor/qmp-cmds.c, qmp_cont.
        """
        self.status = "running"

    async def refresh_status(self, session: QmpSession) -> None:
        """Ask for the RunState and keep it.

        Raises:
            QmpLost, QmpRefused: no usable answer.
        """
        self.status = (await verbs.query_status(session)).status

    def require_control(self) -> QmpSession:
        """The control connection.

        Raises:
            QmpLost: `supervisor.no-monitor`; there is none right now.
        """
        return _require(self.control)

    def require_telemetry(self) -> QmpSession:
        """The telemetry connection.

        Raises:
            QmpLost: `supervisor.no-monitor`; there is none right now.
        """
        return _require(self.telemetry)

    async def wait_telemetry(self, timeout_s: float) -> QmpSession:
        """The telemetry connection, waited for: it comes after the start, unless somebody asks, and after each loss.

        Raises:
            QmpLost: `supervisor.no-monitor`; it did not come in that time.
        """
        self.settle()
        with trio.move_on_after(timeout_s):
            await self._telemetry_up.wait()
        return self.require_telemetry()


def _require(session: QmpSession | None) -> QmpSession:
    if session is None:
        raise QmpLost("supervisor.no-monitor", None, "QEMU's monitor is not connected right now", outcome_known=True)
    return session
