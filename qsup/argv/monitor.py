"""Two QMP monitors: a monitor serves one client, so that statistics never wait for the commands that act."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import FdNeed, Option, fd_token
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan

QMP_FD = "qmp"
TELEMETRY_FD = "telemetry"


def options_of_monitors(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """The acting monitor `qmp` and the reading one `telemetry`, each on a socket that already listens."""
    return [
        *_monitor(QMP_FD, "rule: the daemon acts through this monitor"),
        *_monitor(TELEMETRY_FD, "rule: reading has a monitor of its own, so that it never holds up acting"),
    ]


def fds_of_monitors(plan: VmPlan) -> list[FdNeed]:
    """The two listening sockets."""
    return [
        FdNeed(QMP_FD, "listen", plan.paths.qmp_socket, readonly=False),
        FdNeed(TELEMETRY_FD, "listen", plan.paths.telemetry_socket, readonly=False),
    ]


def _monitor(name: str, why: str) -> list[Option]:
    chardev = key_values("socket", ("id", name), ("fd", fd_token(name)), ("server", "on"), ("wait", "off"))
    return [
        Option("-chardev", chardev, f"{why}; the socket listens before QEMU runs"),
        Option("-mon", key_values(None, ("chardev", name), ("mode", "control")), why),
    ]
