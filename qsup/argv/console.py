"""[console]: the serial console on a socket, with a log that is bounded by the file system under it."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.fdsets import SERIAL_LOG_SET, add_fd_option, fdset_path
from qsup.argv.option import FdNeed, Option, fd_token
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan

CONSOLE_FD = "console"
SERIAL_LOG_FD = "serial-log"


def options_of_console(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """The serial port, or nothing where the file says `serial = false`."""
    if not plan.serial:
        return []
    # The log goes through an fd set: QEMU's uid may not open the file, and /proc/self/fd asks for the file's rights again.
    chardev = key_values(
        "socket",
        ("id", "console"),
        ("fd", fd_token(CONSOLE_FD)),
        ("server", "on"),
        ("wait", "off"),
        ("logfile", fdset_path(SERIAL_LOG_SET)),
        ("logappend", "on"),
    )
    return [
        add_fd_option(_serial_log(plan), SERIAL_LOG_SET),
        Option("-chardev", chardev, "[console] serial = true; log_size bounds the log"),
        Option("-serial", "chardev:console", "[console] serial = true"),
    ]


def fds_of_console(plan: VmPlan) -> list[FdNeed]:
    """The console's socket and its log."""
    if not plan.serial:
        return []
    return [FdNeed(CONSOLE_FD, "listen", plan.paths.console_socket, readonly=False), _serial_log(plan)]


def _serial_log(plan: VmPlan) -> FdNeed:
    return FdNeed(SERIAL_LOG_FD, "log", plan.paths.serial_log, readonly=False)
