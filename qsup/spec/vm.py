"""[vm]: how the machine lives: autostart, restarts, grace."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

RestartPolicy = Literal["on-failure", "always", "never"]
TroublePolicy = Literal["report", "reset", "restart"]


@frozen
class VmSectionSpec:
    """What `[vm]` asks. Times in seconds."""

    description: str = ""
    autostart: bool = True
    restart: RestartPolicy = "on-failure"
    restart_delay_s: float = 1.0
    restart_delay_max_s: float = 60.0
    start_limit: int = 5
    start_limit_interval_s: float = 600.0
    grace_period_s: float = 60.0
    on_panic: TroublePolicy = "report"
    on_io_error: TroublePolicy = "report"
