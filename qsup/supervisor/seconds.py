"""Whole seconds of trio's clock: what is done once a second is done together, and the process wakes once for all of it."""

from __future__ import annotations

import math

import trio


async def next_second(after_s: float = 0.0) -> float:
    """Sleep to the first whole second that is later than now and at least so far away; returns that moment."""
    due_s = max(math.floor(trio.current_time()) + 1.0, float(math.ceil(trio.current_time() + after_s)))
    await trio.sleep_until(due_s)
    return due_s
