"""A set of pCPUs as it is, and as it was lately: a thread may lose its place some time after the set was changed."""

from __future__ import annotations

from attrs import evolve, frozen

KEPT_S = 3600.0 + 60.0
_MOST_CHANGES = 16


@frozen
class PcpuHistory:
    """`now`: as it was seen last; None: never. `changes`: (when a change was noticed, what it was until then), oldest first."""

    now: frozenset[int] | None = None
    changes: tuple[tuple[float, frozenset[int]], ...] = ()

    def noted(self, pcpus: frozenset[int] | None, now_s: float) -> PcpuHistory:
        """With what was seen now; None, where nothing could be seen, is no change."""
        if pcpus is None or pcpus == self.now:
            return self
        if self.now is None:
            return evolve(self, now=pcpus)
        young = tuple(change for change in self.changes if now_s - change[0] <= KEPT_S)
        return PcpuHistory(pcpus, (*young, (now_s, self.now))[-_MOST_CHANGES:])

    def before(self, since_s: float) -> frozenset[int] | None:
        """What it was before the first change since then that left it otherwise than it is now; without one, as it is now."""
        found = (pcpus for changed_s, pcpus in self.changes if changed_s >= since_s and pcpus != self.now)
        return next(found, self.now)
