"""What the supervisor publishes: frozen pictures of each VM, of its starts and of what happened. The API only reads these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from qsup.errors import Problem, Reason
from qsup.spec.changes import Change
from qsup.truth.process_stats import ProcessStats

ConfigState = Literal["valid", "invalid", "removed", "absent"]
Power = Literal["on", "paused", "off"]


@frozen
class StageView:
    """One stage of a start: caps, plan, directories, turn, taps, files, stub, pages, spawn, prealloc, greeting, pin, resume."""

    stage: str
    duration_ms: float


@frozen
class StartView:
    """One start: when it began (Unix time), how it ended ("running", "paused", or a stable code), its stages in order."""

    started_at_s: float
    outcome: str
    total_ms: float
    stages: tuple[StageView, ...]


@frozen
class StartingView:
    """How far a QEMU is that has not greeted yet: the preallocated memory, its CPU time, and for how long neither moved."""

    planned_bytes: int
    taken_bytes: int
    cpu_s: float
    still_s: float


@frozen
class ThreadView:
    """One thread of a VM: its role ("vcpu 0", "emulator", "iothread io-disk0", "vhost"), its pin and affinity as cpulists."""

    role: str
    tid: int
    name: str
    pin: str
    affinity: str
    verdict: str


@frozen
class VmView:
    """One VM as published. Times are Unix seconds; ages are seconds; masks are cpulists.

    `process` is what its QEMU has taken of the host; only a view of one VM has it, since it is read for each of them anew.
    `repairs` counts its threads that were put back, `drifting` those that are elsewhere now, `left_alone` those that are not
    put back any more because somebody keeps moving them.
    """

    name: str
    phase: str
    power: Power
    phase_since_s: float
    config_state: ConfigState
    config_file: str | None = None
    description: str = ""
    autostart: bool = True
    pid: int | None = None
    uid: int | None = None
    scope: str | None = None
    adopted: bool = False
    qemu_status: str | None = None
    silent_s: float | None = None
    starting: StartingView | None = None
    process: ProcessStats | None = None
    vcpus: int | None = None
    memory_bytes: int | None = None
    page_size_bytes: int | None = None
    page_sizes_bytes: tuple[int, ...] = ()
    placement: str | None = None
    machine: str | None = None
    accel: str | None = None
    host_nodes: tuple[int, ...] = ()
    threads: tuple[ThreadView, ...] = ()
    repairs: int = 0
    drifting: int = 0
    left_alone: int = 0
    nics: tuple[Mapping[str, object], ...] = ()
    disks: tuple[Mapping[str, object], ...] = ()
    serial_log: str | None = None
    problems: tuple[Problem, ...] = ()
    trouble: str | None = None
    trouble_code: str | None = None
    trouble_hint: str | None = None
    reason: str = ""
    pending: tuple[Change, ...] = ()
    refusal: tuple[Reason, ...] = ()
    suggestions: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    last_ending: str | None = None
    last_ending_code: str | None = None
    last_words: str | None = None
    restarts: int = 0
    next_start_in_s: float | None = None
    starts: tuple[StartView, ...] = ()


@frozen
class EventView:
    """One thing that happened. `seq` grows by one for each event of this daemon; `code` is stable."""

    seq: int
    time_s: float
    vm: str | None
    code: str
    message: str
    fields: Mapping[str, str] = field(factory=dict)


@frozen
class CmdlineView:
    """The command line of a VM: words as they ran (or would run), and each option with its reason."""

    words: tuple[str, ...]
    options: tuple[tuple[str, str | None, str], ...]
    running: bool


@frozen
class Outcome:
    """What a lifecycle verb did: `changed` is False where the VM already was so."""

    vm: str
    verb: str
    changed: bool
    message: str
    phase: str
