"""Byte sizes as people write them ("8GiB"). Units are binary; parse and format are inverse."""

from __future__ import annotations

import re

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_SIZE = re.compile(r"([0-9]{1,15})\s*([A-Za-z]+)", re.ASCII)


def parse_byte_size(text: str) -> int:
    """Bytes of a size like "8GiB".

    Raises:
        ValueError: one sentence that says what would be accepted.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a whole number and a unit, like 512MiB or 8GiB")
    number, unit = match.groups()
    if unit not in _UNITS:
        raise ValueError(f"{text!r} has the unit {unit!r}: use one of {', '.join(_UNITS)}")
    return int(number) * _UNITS[unit]


def format_byte_size(size_bytes: int) -> str:
    """The size with the largest unit that divides it ("8GiB", "1536MiB", "0B").

    Raises:
        ValueError: the size is negative.
    """
    if size_bytes < 0:
        raise ValueError(f"a size cannot be negative: {size_bytes}")
    for unit, factor in reversed(_UNITS.items()):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"
