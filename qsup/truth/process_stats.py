"""ProcessStats: what one process has taken of the host so far, as the kernel counts it."""

from __future__ import annotations

from attrs import frozen


@frozen
class ProcessStats:
    """Counters since the process began, and its memory now.

    `resident_bytes` is on base pages (transparent huge pages among them), `hugepages_bytes` on pages of hugepage pools.
    `read_bytes` and `written_bytes` went to or came from storage; None where the kernel does not tell this user.
    """

    user_s: float
    system_s: float
    resident_bytes: int
    hugepages_bytes: int
    read_bytes: int | None = None
    written_bytes: int | None = None

    @property
    def cpu_s(self) -> float:
        """Processor time of all its threads."""
        return self.user_s + self.system_s
