"""Whole seconds: everybody who waits for one wakes at the same moment."""

from __future__ import annotations

import math

import trio
import trio.testing

from qsup.supervisor.seconds import next_second


async def test_those_who_begin_at_different_moments_wake_together(autojump_clock: trio.testing.MockClock) -> None:
    woken: list[float] = []

    async def wait(delay_s: float, after_s: float) -> None:
        await trio.sleep(delay_s)
        begun_s = trio.current_time()
        assert await next_second(after_s) == trio.current_time()
        assert max(after_s, 1e-9) <= trio.current_time() - begun_s <= after_s + 1
        woken.append(trio.current_time())

    await next_second()
    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for delay_s, after_s in ((0.0, 0.0), (0.25, 0.0), (0.75, 0.0), (0.5, 2.0), (0.0, 2.0)):
            nursery.start_soon(wait, delay_s, after_s)
    assert all(moment == math.floor(moment) for moment in woken)
    assert sorted(round(moment - begun_s) for moment in woken) == [1, 1, 1, 2, 3]
