"""How late the main loop wakes: what every VM and every client of this daemon has to wait at worst."""

from __future__ import annotations

from collections import deque

import trio

from qsup.supervisor.seconds import next_second

REMEMBERED = 60


class LoopLag:
    """Wakes once a second and keeps how late it was, for the last minute."""

    def __init__(self) -> None:
        self._lags_s: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def worst_s(self) -> float:
        """The worst of the last minute; 0 before the first second."""
        return max(self._lags_s, default=0.0)

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            due_s = await next_second()
            self._lags_s.append(max(trio.current_time() - due_s, 0.0))
