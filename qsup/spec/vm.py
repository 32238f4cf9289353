"""[vm]: how the machine lives: autostart, restarts, grace."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.spec.faults import Place
from qsup.spec.readers import one_of, seconds, text, true_or_false, whole_number
from qsup.spec.schema import BY_QSUP, key

RestartPolicy = Literal["on-failure", "always", "never"]
TroublePolicy = Literal["report", "reset", "restart"]

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@frozen
class VmSectionSpec:
    """What `[vm]` asks. Times in seconds."""

    description: str = field(
        default="",
        metadata=key(text(200, "web server"), doc="Shown by `qsup status`.", effect="none", reason=BY_QSUP),
    )
    autostart: bool = field(
        default=True,
        metadata=key(
            true_or_false(),
            doc="Start the VM when its file appears and when the host comes up.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    restart: RestartPolicy = field(
        default="on-failure",
        metadata=key(
            one_of(RestartPolicy),
            doc="What follows when QEMU ends without an order: `on-failure` restarts after a crash, "
            "`always` also after the guest powered itself off.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    restart_delay_s: float = field(
        default=1.0,
        metadata=key(
            seconds(0, HOUR_S, 1),
            doc="Seconds before the first restart; each further one waits twice as long.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    restart_delay_max_s: float = field(
        default=60.0,
        metadata=key(seconds(0, DAY_S, 60), doc="The longest such wait, in seconds.", effect="none", reason=BY_QSUP),
    )
    start_limit: int = field(
        default=5,
        metadata=key(
            whole_number(1, 1000, 5),
            doc="After this many failures within `start_limit_interval_s` the VM stays down until `qsup start`.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    start_limit_interval_s: float = field(
        default=600.0,
        metadata=key(
            seconds(1, 7 * DAY_S, 600),
            doc="The time, in seconds, over which `start_limit` counts.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    grace_period_s: float = field(
        default=60.0,
        metadata=key(
            seconds(0, DAY_S, 60),
            doc="Seconds that the guest gets to shut down after `qsup stop`, before QEMU is terminated.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    repair: bool = field(
        default=True,
        metadata=key(
            true_or_false(),
            doc="Put threads back that somebody moved off their pCPUs; `false` only reports them.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    on_panic: TroublePolicy = field(
        default="report",
        metadata=key(
            one_of(TroublePolicy),
            doc="What follows when the guest's kernel panics.",
            effect="none",
            reason=BY_QSUP,
        ),
    )
    on_io_error: TroublePolicy = field(
        default="report",
        metadata=key(
            one_of(TroublePolicy),
            doc="What follows when a disk of the host fails under the guest, which is paused then.",
            effect="none",
            reason=BY_QSUP,
        ),
    )


def delays_in_order(vm: VmSectionSpec, place: Place) -> None:
    """The longest delay is not below the first one."""
    if vm.restart_delay_max_s < vm.restart_delay_s:
        place.at("restart_delay_max_s").report(
            "delay-order",
            f"vm.restart_delay_max_s = {vm.restart_delay_max_s:g} is below vm.restart_delay_s = {vm.restart_delay_s:g}: "
            "accepted is that number of seconds or more",
            f"set restart_delay_max_s to {vm.restart_delay_s:g} or more",
        )


RULES = (delays_in_order,)
