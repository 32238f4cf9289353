"""One command on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio
from attrs import define, field, frozen

from qsup.errors import QmpLost, QmpRefused
from qsup.qmp.messages import Answer, Refusal

Outcome = Answer | Refusal | QmpLost


@frozen
class Question:
    """A command whose reply nobody waits for: `on_outcome` is called with it, or with how it was lost; it must not raise."""

    command: str
    on_outcome: Callable[[Outcome], None]
    arguments: Mapping[str, object] | None = None


@define(eq=False)
class Request:
    """A command between its caller and its reply; it may outlive its caller.

    `on_outcome` is called when it is settled, for a caller that does not wait.

    `begun`: a byte of it may have left. `outcome`: its reply, or how it was lost; None while it is open. The turns that it
    holds are given back when it is settled, or by its caller when it was never sent.
    """

    number: int
    command: str
    line: bytes
    fds: tuple[int, ...]
    begun: bool = False
    on_outcome: Callable[[Outcome], None] | None = None
    outcome: Outcome | None = None
    settled: trio.Event = field(factory=trio.Event)
    _turns: list[trio.Semaphore] = field(factory=list)

    async def take(self, turn: trio.Semaphore) -> None:
        """Wait for `turn` and hold it."""
        await turn.acquire()
        self._turns.append(turn)

    def take_nowait(self, turn: trio.Semaphore) -> bool:
        """Hold `turn` where it is free; False where it is not."""
        try:
            turn.acquire_nowait()
        except trio.WouldBlock:
            return False
        self._turns.append(turn)
        return True

    def give_back_turns(self) -> None:
        """Release every turn held; harmless when done before."""
        while self._turns:
            self._turns.pop().release()

    def mark_begun(self) -> None:
        """A byte of the line may have left."""
        self.begun = True

    def settle(self, outcome: Outcome) -> None:
        """The command is over: wake whoever waits for it."""
        self.outcome = outcome
        self.give_back_turns()
        self.settled.set()
        if self.on_outcome is not None:
            self.on_outcome(outcome)

    def value(self) -> object:
        """The reply's value, or raise what the outcome means; without an outcome, the deadline passed."""
        if isinstance(self.outcome, Answer):
            return self.outcome.value
        if isinstance(self.outcome, Refusal):
            raise QmpRefused(self.command, self.outcome.error_class, self.outcome.description)
        if self.outcome is not None:
            raise self.outcome
        was_sent = "its outcome is unknown" if self.begun else "it was never sent"
        message = f"QEMU did not answer {self.command} in time, {was_sent}"
        raise QmpLost("qmp.timeout", self.command, message, outcome_known=not self.begun)
