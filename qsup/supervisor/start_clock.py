"""The start timeline: the time of each stage between the wish to start and the running guest."""

from __future__ import annotations

import time

from qsup.supervisor.view import StageView, StartView


class StartClock:
    """Marks the end of each stage; stages that are marked twice add up."""

    def __init__(self) -> None:
        self.started_at_s = time.time()
        self._last_s = time.monotonic()
        self._stages: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        """The stage ends now; it began where the one before it ended."""
        now_s = time.monotonic()
        self._stages[stage] = self._stages.get(stage, 0.0) + now_s - self._last_s
        self._last_s = now_s

    def finished(self, outcome: str) -> StartView:
        """The start as published, with what has been marked so far: its stages add up to its whole."""
        stages = tuple(StageView(stage, round(seconds * 1000, 3)) for stage, seconds in self._stages.items())
        total_ms = round(sum(stage.duration_ms for stage in stages), 3)
        return StartView(self.started_at_s, outcome, total_ms, stages)
