"""The event log: bounded, ordered, and never waiting for anyone."""

from __future__ import annotations

import trio

from qsup.supervisor.events import FOLLOWER_BACKLOG, HISTORY_LENGTH, EventLog
from qsup.supervisor.view import EventView


async def test_followers_get_the_kept_events_and_the_new_ones_in_order() -> None:
    log = EventLog(sinks=())
    for number in range(3):
        log.publish("test.event", str(number))
    async with log.follow(after_seq=1) as events:
        log.publish("test.event", "3", "vm", {"thread": "vcpu 0"})
        got = [await events.receive() for _ in range(3)]
    assert [(event.seq, event.message) for event in got] == [(2, "1"), (3, "2"), (4, "3")]
    assert (got[-1].vm, got[-1].fields) == ("vm", {"thread": "vcpu 0"})


async def test_the_channel_of_a_follower_that_lags_ends_and_nobody_waits_for_it() -> None:
    log = EventLog(sinks=())
    async with log.follow() as slow:
        for number in range(HISTORY_LENGTH + FOLLOWER_BACKLOG + 10):
            log.publish("test.event", str(number))
        with trio.fail_after(5):
            codes = [event.code async for event in slow]
    assert codes == ["test.event"] * (HISTORY_LENGTH + FOLLOWER_BACKLOG)


def test_the_history_is_bounded_and_sinks_get_everything() -> None:
    seen: list[EventView] = []
    log = EventLog(sinks=(seen.append,))
    for number in range(HISTORY_LENGTH + 5):
        log.publish("test.event", str(number))
    assert len(log.history()) == HISTORY_LENGTH
    assert log.history()[0].seq == 6
    assert len(seen) == HISTORY_LENGTH + 5
