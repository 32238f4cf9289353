from __future__ import annotations

import pytest
import trio
import trio.testing

from qsup.qmp.event_stream import EventStream
from qsup.qmp.messages import QmpEvent


def event(name: str) -> QmpEvent:
    return QmpEvent(name, {}, None)


async def names_of(stream: EventStream) -> list[str]:
    return [event.name async for event in stream]


async def test_the_oldest_are_dropped_and_counted_beyond_the_number() -> None:
    stream = EventStream(3, 1000)
    for name in "ABCDE":
        stream.put(event(name), 1)
    stream.end()
    assert await names_of(stream) == ["C", "D", "E"]
    assert stream.dropped == 2


async def test_the_oldest_are_dropped_beyond_the_bytes_and_an_event_beyond_all_of_them_is_dropped_itself() -> None:
    stream = EventStream(100, 10)
    stream.put(event("A"), 6)
    stream.put(event("B"), 4)
    stream.put(event("C"), 3)
    assert (await stream.receive()).name == "B"
    stream.put(event("D"), 11)
    stream.put(event("E"), 10)
    stream.end()
    assert await names_of(stream) == ["E"]
    assert stream.dropped == 3


async def test_a_waiting_consumer_is_woken_by_an_event_and_by_the_end() -> None:
    stream = EventStream(3, 1000)
    seen: list[str] = []

    async def consume() -> None:
        seen.extend(await names_of(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await trio.testing.wait_all_tasks_blocked()
        stream.put(event("A"), 1)
        await trio.testing.wait_all_tasks_blocked()
        stream.end()
    assert seen == ["A"]
    with pytest.raises(trio.EndOfChannel):
        await stream.receive()


async def test_a_cancelled_consumer_takes_no_event_with_it() -> None:
    stream = EventStream(3, 1000)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()
    stream.put(event("A"), 1)
    assert (await stream.receive()).name == "A"
