"""Has any real-time thread lost its scheduler since the last look? Asked every second, of real-time vCPUs only."""

from __future__ import annotations

import os
from collections.abc import Iterable

ThreadScheduler = tuple[int, int, int]
"""(tid, policy, real-time priority) as they were read."""


def have_schedulers(threads: Iterable[ThreadScheduler]) -> bool:
    """Whether each of these threads is still there and scheduled so.

    Touches:
        sched_getscheduler, sched_getparam, once a thread each.
    """
    try:
        for tid, policy, priority in threads:
            if os.sched_getscheduler(tid) & ~os.SCHED_RESET_ON_FORK != policy:
                return False
            if os.sched_getparam(tid).sched_priority != priority:
                return False
    except OSError:
        return False
    return True
