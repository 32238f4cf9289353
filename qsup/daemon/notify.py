"""sd_notify and the watchdog. Source: man 3 sd_notify, man 3 sd_watchdog_enabled."""

from __future__ import annotations

import os
import socket

import trio


def notify(state: str) -> None:
    """Tell systemd, where it listens; a datagram that cannot be sent is lost and that is all.

    Touches: $NOTIFY_SOCKET.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return


def watchdog_interval_s() -> float | None:
    """Half of the time after which systemd would restart the daemon; None where no watchdog is set for this process."""
    try:
        period_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        pid = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return period_us / 2e6 if period_us > 0 and pid == os.getpid() else None


async def feed_watchdog() -> None:
    """Prove from the main loop itself that it turns, for ever; ends at once where no watchdog is set."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify("WATCHDOG=1")
        await trio.sleep(interval_s)
