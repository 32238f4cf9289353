"""AgentsCache: which agents of the host move threads, asked only when a thread was moved, and at most once a minute."""

from __future__ import annotations

import trio
from attrs import define, field

from qsup.host.agents import read_agents
from qsup.truth.suspects import AgentFacts

FRESH_S = 60.0


@define(eq=False)
class AgentsCache:
    """What was found the last time, and when (trio's clock)."""

    _facts: AgentFacts | None = None
    _asked_s: float = 0.0
    _asking: trio.Lock = field(factory=trio.Lock)

    async def facts(self) -> AgentFacts:
        """The agents of this host; where the threads of many VMs were moved at once, they are asked once for all.

        Touches: /proc/*/comm, tuned's profiles; in a worker thread.
        """
        async with self._asking:
            now_s = trio.current_time()
            if self._facts is None or now_s - self._asked_s > FRESH_S:
                self._facts = await trio.to_thread.run_sync(read_agents)
                self._asked_s = now_s
            return self._facts
