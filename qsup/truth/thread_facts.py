"""ThreadFacts: all that the kernel tells of one thread in one look. `host/` fills it."""

from __future__ import annotations

from attrs import frozen

from qsup.truth.threads import SeenThread


@frozen
class ThreadFacts(SeenThread):
    """A SeenThread with all that its scheduling has come to.

    `state` is the letter of /proc/PID/stat ("R", "S", …). `run_time_ns` and `run_delay_ns` only grow (run delay: runnable and
    waiting for a pCPU); `timeslices` counts the times it was put on one. None where the kernel has no schedstat.
    `kernel` marks kernel threads that work for a VM without being threads of its process.
    """

    last_pcpu: int = 0
    state: str = "?"
    run_time_ns: int | None = None
    run_delay_ns: int | None = None
    timeslices: int | None = None
    kernel: bool = False
