"""This boot of the host: its id and its age."""

from __future__ import annotations

import time

from qsup.host.sysfs import read_text


def read_boot_id(root: str = "/") -> str:
    """The kernel's random id of this boot, in lower case; the empty text where the kernel does not tell.

    Touches:
        /proc/sys/kernel/random/boot_id.
    """
    return (read_text(root, "/proc/sys/kernel/random/boot_id") or "").strip().lower()


def uptime_s() -> float:
    """Seconds since boot, suspended time included. Touches: CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
