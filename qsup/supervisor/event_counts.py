"""EventCounts: how often each thing happened, for the metrics. A sink of the event log."""

from __future__ import annotations

from collections import Counter

from qsup.supervisor.view import EventView

_OF_FILES = "spec."


class EventCounts:
    """Counts by code; what a VM's file says wrong has a hundred codes and counts as one."""

    def __init__(self) -> None:
        self.by_code: Counter[str] = Counter()

    def take(self, event: EventView) -> None:
        """Count one event."""
        self.by_code["spec.any" if event.code.startswith(_OF_FILES) else event.code] += 1
