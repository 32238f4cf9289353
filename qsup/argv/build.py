"""build: the whole command line of a plan. The list below is the order in which the options stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from qsup.argv.boot import fds_of_boot, options_of_boot
from qsup.argv.caps import QemuCaps
from qsup.argv.clock import options_of_clock
from qsup.argv.console import fds_of_console, options_of_console
from qsup.argv.cpu import options_of_cpu
from qsup.argv.disk import fds_of_disks, options_of_disks
from qsup.argv.identity import options_of_identity
from qsup.argv.iothread import options_of_iothreads
from qsup.argv.machine import options_of_machine
from qsup.argv.memory import options_of_memory
from qsup.argv.missing import missing_capabilities
from qsup.argv.monitor import fds_of_monitors, options_of_monitors
from qsup.argv.nic import fds_of_nics, options_of_nics
from qsup.argv.option import Argv, FdNeed, Option
from qsup.argv.power import options_of_power
from qsup.argv.rng import options_of_rng
from qsup.argv.sandbox import options_of_sandbox
from qsup.argv.startup import options_of_startup
from qsup.plan.vmplan import VmPlan

__all__ = ["build", "missing_capabilities"]

SECTIONS: Final[tuple[Callable[[VmPlan, QemuCaps], list[Option]], ...]] = (
    options_of_identity,
    options_of_startup,
    options_of_sandbox,
    options_of_machine,
    options_of_cpu,
    options_of_memory,
    options_of_clock,
    options_of_power,
    options_of_rng,
    options_of_boot,
    options_of_iothreads,
    options_of_disks,
    options_of_nics,
    options_of_console,
    options_of_monitors,
)

FDS: Final[tuple[Callable[[VmPlan], list[FdNeed]], ...]] = (
    fds_of_boot,
    fds_of_disks,
    fds_of_nics,
    fds_of_console,
    fds_of_monitors,
)


def build(plan: VmPlan, caps: QemuCaps) -> Argv:
    """The command line of the plan, for the binary with these capabilities.

    Order: ask `missing_capabilities` first; build trusts that the binary has what the plan needs, and only leaves out
    what is a convenience (pvpanic, virtio-rng, the PIT's policy).
    """
    options = tuple(option for options_of in SECTIONS for option in options_of(plan, caps))
    fds = tuple(need for fds_of in FDS for need in fds_of(plan))
    return Argv(binary=plan.qemu, options=options, fds=fds)
