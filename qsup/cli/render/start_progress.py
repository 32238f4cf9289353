"""How far a QEMU is that has not greeted yet, in a few words."""

from __future__ import annotations

from qsup.api.client import Json
from qsup.cli.render.amounts import age
from qsup.cli.render.sizes import short_size

_STILL_S = 5.0


def progress_words(starting: Json | None) -> str:
    """ "1.5GiB of 8GiB preallocated (18 %), 3.1 s of CPU time"; for how long nothing moves, where that is worth a word.

    Empty where nothing is starting.
    """
    if starting is None:
        return ""
    planned_bytes, taken_bytes = starting["planned_bytes"], starting["taken_bytes"]
    parts = [f"{starting['cpu_s']:.1f} s of CPU time"]
    if planned_bytes:
        share = f"{taken_bytes * 100 // planned_bytes} %"
        parts.insert(0, f"{short_size(taken_bytes)} of {short_size(planned_bytes)} preallocated ({share})")
    if starting["still_s"] >= _STILL_S:
        parts.append(f"nothing moves for {age(starting['still_s'])}")
    return ", ".join(parts)
