"""Amounts of memory in few letters: exact where that is short, else with one decimal."""

from __future__ import annotations

from qsup.bytesize import GIB, KIB, MIB, TIB

_UNITS = (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB))


def short_size(size_bytes: int) -> str:
    """ "8GiB", "29.3GiB", "512MiB", "0B"."""
    for unit, factor in _UNITS:
        if size_bytes >= factor:
            whole, tenths = divmod(size_bytes * 10 // factor, 10)
            return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"
    return f"{size_bytes}B"
