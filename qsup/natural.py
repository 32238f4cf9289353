"""Names as people count: vm2 before vm10."""

from __future__ import annotations

import re
from functools import lru_cache

_KEPT = 8192
_PARTS = re.compile(r"([^0-9]*)([0-9]*)")


@lru_cache(_KEPT)
def natural(name: str) -> tuple[tuple[str, int], ...]:
    """What to sort names by: digits by their value. Never equal for different names ("vm1", "vm01")."""
    parts = [(text, int(digits) if digits else -1) for text, digits in _PARTS.findall(name[:256])]
    return (*parts, (name, 0))
