"""One QMP connection: a reader of its own, any number of tasks that execute commands.

Strategy: `_unanswered` holds every command from its first byte until its reply, also when nobody waits for it any more;
so a late reply is recognised, a reply to nothing is hostile, and commands that a hung QEMU has not read can't pile up
without bound. What a command occupies (a slot, the turn to pass descriptors) is given back by the same two events only:
its reply, or the end of the connection. Only the reader closes the stream; whoever else wants it closed calls `_end`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import trio

from qsup.errors import QmpLost
from qsup.qmp.event_stream import EventStream
from qsup.qmp.framing import LineSplitter
from qsup.qmp.messages import QmpEvent, QmpGreeting, incoming_of, malformed, request_line
from qsup.qmp.request import Outcome, Question, Request
from qsup.qmp.wire import write_at_once, write_line

# libvirt takes 10 MiB; the longest known reply, query-qmp-schema, is 0.2 MiB with QEMU 7.2
LINE_LIMIT_BYTES = 16 * 2**20
EVENTS_LIMIT = 1024
EVENTS_LIMIT_BYTES = 2**20
UNANSWERED_LIMIT = 64
NEGOTIATION_TIMEOUT_S = 10.0
_CHUNK_BYTES = 65536
_LAST_WORDS_S = 1.0


class QmpSession:
    """A negotiated connection; made by `open_session` only. Any task may execute, any number at once."""

    def __init__(self, stream: trio.abc.Stream, line_limit_bytes: int) -> None:
        self._stream = stream
        self._splitter = LineSplitter(line_limit_bytes)
        self._events = EventStream(EVENTS_LIMIT, EVENTS_LIMIT_BYTES)
        self._unanswered: dict[int, Request] = {}
        self._last_number = 0
        self._slots = trio.Semaphore(UNANSWERED_LIMIT)
        self._fd_turn = trio.Semaphore(1)
        self._writing = trio.Lock()
        self._listening = trio.CancelScope()
        self._greeting: QmpGreeting | None = None
        self._greeted = trio.Event()
        self._closed = trio.Event()
        self._ending: tuple[str, str] | None = None
        self._silent_since = trio.current_time()

    @property
    def greeting(self) -> QmpGreeting:
        """QEMU's greeting; always there inside `open_session`."""
        if self._greeting is None:
            raise self._lost_before_greeting()
        return self._greeting

    @property
    def closed(self) -> bool:
        """Has the connection ended, for whatever reason?"""
        return self._ending is not None

    @property
    def ending(self) -> str | None:
        """Why the connection ended, as a clause; None while it stands."""
        return None if self._ending is None else self._ending[1]

    @property
    def silent_since(self) -> float:
        """`trio.current_time()` of the last byte received, or of the opening. Events count as well as replies."""
        return self._silent_since

    @property
    def events_dropped(self) -> int:
        """How many events the consumer missed by lagging. When it grows: query the state, do not trust the events."""
        return self._events.dropped

    def events(self) -> EventStream:
        """The events of this connection, oldest first; the same stream at each call, each event is given once."""
        return self._events

    async def wait_closed(self) -> None:
        """Return once the connection has ended."""
        await self._closed.wait()

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float,
        fds: Sequence[int] = (),
    ) -> object:
        """Run one command and return what QEMU put in "return".

        Cancelled or late before its first byte, the command was never sent and nothing else is disturbed. Later, its reply
        is awaited by nobody and discarded, the connection stays usable. Inside a partial write the connection is closed.

        Args:
            timeout_s: deadline in seconds for all of it, including the wait for other commands' writes and for a slot.
            fds: descriptors for QEMU (`getfd` and `add-fd` take one). QEMU has one place for received descriptors per
                monitor, so such commands go one by one, each until its reply, even if its caller has gone. The caller
                keeps its own descriptors and may close them once this returns or raises.

        Raises:
            QmpRefused: QEMU answered with an error; or class "qsup.UnsendableArguments", nothing sent.
            QmpLost: `qmp.timeout`; `qmp.closed`, `qmp.malformed` or `qmp.oversized` when the connection ended meanwhile.
                `outcome_known` is True exactly if no byte was sent.
            KernelRefused: `qmp.fd-refused`, nothing sent.
            ValueError: descriptors over a stream that is no socket.
        """
        self._require_open(command)
        if fds and not isinstance(self._stream, trio.SocketStream):
            raise ValueError(f"descriptors cannot pass through a {type(self._stream).__name__}")
        self._last_number += 1
        line = request_line(self._last_number, command, arguments)
        request = Request(self._last_number, command, line, tuple(fds))
        try:
            with trio.move_on_after(timeout_s):
                await self._send(request)
                await request.settled.wait()
        finally:
            if request.number not in self._unanswered:
                request.give_back_turns()
        return request.value()

    def post(
        self, command: str, on_outcome: Callable[[Outcome], None], arguments: Mapping[str, object] | None = None
    ) -> bool:
        """Send a command and wait for nothing: neither for its reply nor for others' commands.

        Args:
            on_outcome: called once, with the reply or how it was lost; from the reader's task, so it must not raise.

        Returns:
            False where it could not leave at once: nothing was sent, and nothing will be called.
        """
        return self.post_together([Question(command, on_outcome, arguments)])

    def post_together(self, questions: Sequence[Question]) -> bool:
        """`post` several commands by one write: all of them, or none where they could not leave at once."""
        if self._ending is not None or self._writing.locked():
            return False
        requests = [self._request_of(question) for question in questions]
        if not all(request.take_nowait(self._slots) for request in requests):
            return _not_sent(requests)
        text = b"".join([request.line for request in requests])
        sent_bytes = write_at_once(self._stream, text)
        if sent_bytes == 0:
            return _not_sent(requests)
        for request in requests:
            request.mark_begun()
            self._unanswered[request.number] = request
        if sent_bytes < len(text):
            self._end("qmp.closed", f"the write of {requests[-1].command} was interrupted")
        return True

    def _request_of(self, question: Question) -> Request:
        self._last_number += 1
        line = request_line(self._last_number, question.command, question.arguments)
        return Request(self._last_number, question.command, line, (), on_outcome=question.on_outcome)

    async def _send(self, request: Request) -> None:
        # first the turn that others may hold for long: a command waiting for it must not occupy a slot
        if request.fds:
            await request.take(self._fd_turn)
        await request.take(self._slots)
        async with self._writing:
            self._require_open(request.command)
            self._unanswered[request.number] = request
            try:
                await write_line(self._stream, request.line, request.fds, request.mark_begun)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # what QEMU said before it went (SHUTDOWN, replies) may still wait to be read: leave the reader some time
                self._listening.deadline = min(self._listening.deadline, trio.current_time() + _LAST_WORDS_S)
                self._abandon_write(request)
                message = f"the connection ended before {request.command} was written"
                lost = QmpLost("qmp.closed", request.command, message, outcome_known=not request.begun)
                request.settle(request.outcome or lost)
            except BaseException:
                self._abandon_write(request)
                raise

    def _abandon_write(self, request: Request) -> None:
        """Forget a command whose write failed; half a line has been said: nothing can follow it."""
        self._unanswered.pop(request.number, None)
        if request.begun:
            self._end("qmp.closed", f"the write of {request.command} was interrupted")

    def _require_open(self, command: str) -> None:
        if self._ending is not None:
            message = f"{command} was not sent, the connection has ended: {self._ending[1]}"
            raise QmpLost("qmp.closed", command, message, outcome_known=True)

    async def _listen(self) -> None:
        """Read until the connection ends; close the stream. Raises nothing but Cancelled."""
        try:
            with self._listening:
                await self._read()
                self._end("qmp.closed", "QEMU closed the connection")
            self._end("qmp.closed", "QEMU no longer reads commands")
        except QmpLost as lost:
            self._end(lost.code, lost.message)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end("qmp.closed", f"the connection broke: {error.__cause__ or error}")
        finally:
            self._end("qmp.closed", "qsup closed the connection")
            await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        while chunk := await self._stream.receive_some(_CHUNK_BYTES):
            self._silent_since = trio.current_time()
            for line in self._splitter.feed(bytes(chunk)):
                if line and not line.isspace():
                    self._take(line)

    def _take(self, line: bytes) -> None:
        incoming = incoming_of(line)
        if isinstance(incoming, QmpEvent):
            self._events.put(incoming, len(line))
        elif isinstance(incoming, QmpGreeting):
            if self._greeting is not None:
                raise malformed("a second greeting", line)
            self._greeting = incoming
            self._greeted.set()
        else:
            request = self._unanswered.pop(incoming.number, None)
            if request is None:
                raise malformed("a reply to no command", incoming.number)
            request.settle(incoming)

    def _end(self, code: str, reason: str) -> None:
        """End the connection, once; every command that waits learns of it, the reader closes the stream."""
        if self._ending is not None:
            return
        self._ending = (code, reason)
        for request in self._unanswered.values():
            message = f"the connection ended before {request.command} was answered: {reason}"
            request.settle(QmpLost(code, request.command, message, outcome_known=not request.begun))
        self._unanswered.clear()
        self._events.end()
        self._greeted.set()
        self._closed.set()
        self._listening.cancel()

    async def _negotiate(self, greeting_timeout_s: float | None, negotiation_timeout_s: float) -> None:
        with trio.move_on_after(float("inf") if greeting_timeout_s is None else greeting_timeout_s):
            await self._greeted.wait()
        if self._greeting is None:
            raise self._lost_before_greeting()
        await self.execute("qmp_capabilities", timeout_s=negotiation_timeout_s)

    def _lost_before_greeting(self) -> QmpLost:
        if self._ending is None:
            message = "QEMU sent no greeting in time; is another client connected to this monitor?"
            return QmpLost("qmp.timeout", None, message, outcome_known=True)
        code, reason = self._ending
        return QmpLost(code, None, f"the connection ended before QEMU's greeting: {reason}", outcome_known=True)


@asynccontextmanager
async def open_session(
    stream: trio.abc.Stream,
    *,
    greeting_timeout_s: float | None,
    negotiation_timeout_s: float = NEGOTIATION_TIMEOUT_S,
    line_limit_bytes: int = LINE_LIMIT_BYTES,
) -> AsyncIterator[QmpSession]:
    """Negotiate QMP over a connected stream; the stream is this session's from now on, and closed at the end.

    The end of the connection does not end the block: commands raise, `events()` ends, `wait_closed` returns. An error
    raised inside the block leaves it as it is, not inside a group.

    Args:
        greeting_timeout_s: None waits as long as it takes: QEMU preallocates its memory before it greets, and a monitor
            that another client holds does not greet at all. The caller cancels.

    Raises:
        QmpLost: no greeting or no negotiation in time, or the connection ended on the way.
        QmpRefused: QEMU refused `qmp_capabilities`.
    """
    session = QmpSession(stream, line_limit_bytes)
    only: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session._listen)
            try:
                await session._negotiate(greeting_timeout_s, negotiation_timeout_s)
                yield session
            finally:
                session._end("qmp.closed", "qsup closed the connection")
    except BaseExceptionGroup as group:
        only = _only_error_of(group)
        if only is None:
            raise
    if only is not None:
        raise only


def _only_error_of(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The error of the block, when the reader added nothing but its Cancelled; None when there are several."""
    cancelled, others = group.split(trio.Cancelled)
    if others is not None:
        return others.exceptions[0] if len(others.exceptions) == 1 else None
    return cancelled.exceptions[0] if cancelled is not None else None


def _not_sent(requests: Sequence[Request]) -> Literal[False]:
    """Nothing of these commands left: they hold no turn."""
    for request in requests:
        request.give_back_turns()
    return False
