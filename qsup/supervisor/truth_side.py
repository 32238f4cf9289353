"""TruthSide: what is remembered of a running VM between two looks: its threads' drift, its kernel threads, its pages."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import define, field

from qsup.host.thread_masks import ThreadMask
from qsup.host.thread_schedulers import ThreadScheduler
from qsup.truth.drift import DriftMemory
from qsup.truth.memory import MemoryCount
from qsup.truth.pcpu_history import PcpuHistory


@define(eq=False)
class TruthSide:
    """Kept as long as the process is watched; moments are those of trio's clock.

    `repairs` counts the threads that were put back. `kernel_threads`: the kernel threads that work for it, by id with their
    names; `scanned_s`: when they were looked for. `online`, `cpuset`: the host's pCPUs and those that its cgroup allows, as
    they are and as they were lately; `cpuset_read_s`: when the latter was read.
    `refusals_told`: the kinds of thread of which it was said that the kernel does not let them be placed.
    `process_threads`, `masks`: how many threads its process had at the last look, and the affinities of all that work for it;
    `schedulers`: those of its real-time vCPUs;
    `judge_again_s`: when judging them may come to something else although nothing moves; `repairing`: whether moved threads
    were put back then. `logs_looked_s`, `trimmed`: when its logs were looked at, and whether they had grown too long.
    `count`: its pages, `counted_s` the moment, `misplaced_bytes` and `local_ratio` what came of it; `misplaced_told`: the
    backends that were reported.
    """

    drift: DriftMemory = field(factory=dict)
    repairs: int = 0
    kernel_threads: Mapping[int, str] = field(factory=dict)
    scanned_s: float | None = None
    online: PcpuHistory = field(factory=PcpuHistory)
    cpuset: PcpuHistory = field(factory=PcpuHistory)
    cpuset_read_s: float = -math.inf
    process_threads: int = 0
    masks: tuple[ThreadMask, ...] = ()
    schedulers: tuple[ThreadScheduler, ...] = ()
    judge_again_s: float = 0.0
    repairing: bool | None = None
    logs_looked_s: float = -math.inf
    trimmed: bool = False
    refusals_told: set[str] = field(factory=set)
    count: MemoryCount | None = None
    misplaced_bytes: int = 0
    local_ratio: float | None = None
    counted_s: float | None = None
    misplaced_told: frozenset[str] = frozenset()
    mending: bool = False
