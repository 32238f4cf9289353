"""Cells: amounts in few letters, each as wide at night as at noon. What is not known is "-"."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.terminal import printable

UNKNOWN = "-"
SHOWN = 0.005
_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None) -> str:
    """A share of wall time: "41.2"; 100 is a whole pCPU."""
    return UNKNOWN if share is None else f"{share * 100:.1f}"


def amount(value: float | None) -> str:
    """A number in at most five letters: "0", "830", "1.2k", "52.4M"; decimal, as links and disks are sold."""
    if value is None:
        return UNKNOWN
    for step, letter in _STEPS:
        if value >= step * 0.9995:
            scaled = value / step
            return f"{scaled:.1f}{letter}" if scaled < 99.95 else f"{scaled:.0f}{letter}"
    return f"{value:.1f}" if value < 9.95 and value % 1 else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """How long one operation took: "0.08", "1.25", "140"."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"


def short_age(seconds: float | None) -> str:
    """ "5s", "12m", "3h", "4d"."""
    if seconds is None:
        return UNKNOWN
    whole = max(int(seconds), 0)
    for step, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= step:
            return f"{whole // step}{letter}"
    return f"{whole}s"


def role(text: str) -> str:
    """ "vcpu 0" as people write it."""
    return printable(text).replace("vcpu ", "vCPU ")


def who_ran(thread: Json | None) -> str:
    """ "db1 vCPU 3 40.1, ssh.service 12.0, unknown 3.1"; empty where nobody waited."""
    if thread is None or (not thread.get("blame") and not thread.get("unknown_share")):
        return ""
    named: Sequence[Json] = thread["blame"]
    parts = [f"{printable(item['who'])} {percent(item['share'])}" for item in named if item["share"] >= SHOWN]
    if thread["throttled_share"] >= SHOWN:
        parts.insert(0, f"its quota {percent(thread['throttled_share'])}")
    if thread["unknown_share"] >= SHOWN:
        parts.append(f"unknown {percent(thread['unknown_share'])}")
    return ", ".join(parts)


def added(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
