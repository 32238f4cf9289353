"""Is any thread elsewhere than at the last look? The cheapest question about them: it is asked of all threads every second."""

from __future__ import annotations

import os
from collections.abc import Iterable

ThreadMask = tuple[int, frozenset[int]]
"""(tid, affinity as it was read)."""


def have_masks(threads: Iterable[ThreadMask]) -> bool:
    """Whether each of these threads is still there and has this affinity.

    Touches:
        sched_getaffinity, once a thread; about a microsecond each.
    """
    read = os.sched_getaffinity
    try:
        for tid, mask in threads:
            if read(tid) != mask:
                return False
    except OSError:
        return False
    return True
