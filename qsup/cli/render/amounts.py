"""Times, ages and counts as people read them."""

from __future__ import annotations

import time


def moment(time_s: float) -> str:
    """A Unix time in the local zone: "2026-01-31 13:05:09"."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def precise_moment(time_s: float) -> str:
    """The same with milliseconds, for logs."""
    whole_ms = round(time_s * 1000)
    return f"{moment(whole_ms // 1000)}.{whole_ms % 1000:03d}"


def age(seconds: float) -> str:
    """A span in its two largest units: "45 s", "2 h 3 min", "12 d 4 h"."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < 86400:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86400, "d", whole % 86400 // 3600, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def counted(count: int, noun: str) -> str:
    """ "1 problem", "2 problems"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
