"""Small files whose whole text is a setting, and the kernel's bitmaps."""

from __future__ import annotations

import re

from qsup.host.sysfs import read_text
from qsup.truth.audit.facts import Told

_BITMAP = re.compile(r"[0-9a-fA-F]{1,8}(,[0-9a-fA-F]{1,8})*", re.ASCII)


def told(root: str, file: str) -> Told:
    """The file as it was read."""
    return Told(file, read_text(root, file))


def read_bitmap(root: str, file: str) -> frozenset[int] | None:
    """The numbers of a bitmap file ("ff", "3,ffffffff"); None where it is missing or malformed."""
    text = (read_text(root, file) or "").strip()
    return bits_of(text) if _BITMAP.fullmatch(text) else None


def bits_of(text: str) -> frozenset[int]:
    """The numbers of a bitmap: words of 32 bits in hex, the highest first."""
    number = 0
    for word in text.split(","):
        number = (number << 32) | int(word, 16)
    return frozenset(bit for bit in range(number.bit_length()) if number >> bit & 1)
