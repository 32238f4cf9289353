"""What a QEMU does that has not greeted yet: its memory comes, or it computes, or neither.

Strategy: preallocation happens before the greeting and takes as long as it takes, so that no deadline can be right. What can be
told is whether anything moves: the pages that the process has, and its processor time. Pages are counted by process, since the
free pages of a pool also move for others that start at the same time.
"""

from __future__ import annotations

from attrs import frozen

from qsup.plan.vmplan import VmPlan
from qsup.truth.process_stats import ProcessStats


@frozen
class StartProgress:
    """Moments are of the observer's clock. `planned_bytes` is what is preallocated, `taken_bytes` what of it is there.

    `pages_moved`: pages came since the look before; `moved_at_s`: when anything was last seen to move.
    """

    planned_bytes: int
    taken_bytes: int
    cpu_s: float
    moved_at_s: float
    pages_moved: bool = False


def progress_of(before: StartProgress | None, plan: VmPlan, stats: ProcessStats, now_s: float) -> StartProgress:
    """The progress at this look, compared with the look before."""
    touched = [node for node in plan.guest_nodes if node.prealloc]
    planned_bytes = sum(node.size_bytes for node in touched)
    kinds = {node.hugepages for node in touched}
    taken_bytes = sum(stats.hugepages_bytes if hugepages else stats.resident_bytes for hugepages in kinds)
    taken_bytes = min(taken_bytes, planned_bytes)
    if before is None:
        return StartProgress(planned_bytes, taken_bytes, stats.cpu_s, now_s, pages_moved=taken_bytes > 0)
    pages_moved = taken_bytes != before.taken_bytes
    moved = pages_moved or stats.cpu_s != before.cpu_s
    return StartProgress(planned_bytes, taken_bytes, stats.cpu_s, now_s if moved else before.moved_at_s, pages_moved)
