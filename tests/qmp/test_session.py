from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from qsup.errors import QmpLost, QmpRefused
from qsup.qmp.session import EVENTS_LIMIT, UNANSWERED_LIMIT, QmpSession, open_session
from tests.qmp.speaker import GREETING, Speaker, open_talk


async def lost_by(session: QmpSession, command: str, *, timeout_s: float = 5) -> QmpLost:
    with pytest.raises(QmpLost) as caught:
        await session.execute(command, timeout_s=timeout_s)
    assert caught.value.command == command
    return caught.value


async def test_the_greeting_is_typed_and_capabilities_are_negotiated(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, _):
        assert session.greeting.version == (7, 2, 22)
        assert session.greeting.package.startswith("Debian")
        assert not session.closed
        assert session.ending is None


async def test_a_greeting_may_take_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    speaker = Speaker(theirs)

    async def preallocate_and_greet() -> None:
        await trio.sleep(86_400)
        await speaker.negotiate()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(preallocate_and_greet)
        async with open_session(ours, greeting_timeout_s=None) as session:
            assert session.greeting.version == (7, 2, 22)
            assert trio.current_time() - session.silent_since < 1


async def test_no_greeting_in_time_is_a_timeout_and_closes_the_stream(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(QmpLost) as caught:
        async with open_session(ours, greeting_timeout_s=5):
            pytest.fail("there was no greeting")
    assert (caught.value.code, caught.value.outcome_known) == ("qmp.timeout", True)
    assert await theirs.receive_some() == b""


async def test_no_answer_to_the_negotiation_is_a_timeout(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await Speaker(theirs).greet()
    with pytest.raises(QmpLost) as caught:
        async with open_session(ours, greeting_timeout_s=None):
            pytest.fail("there was no negotiation")
    assert (caught.value.code, caught.value.command) == ("qmp.timeout", "qmp_capabilities")


async def test_a_qemu_that_dies_before_its_greeting_is_told_apart_from_a_slow_one(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(QmpLost, match="before QEMU's greeting: QEMU closed") as caught:
        async with open_session(ours, greeting_timeout_s=None):
            pytest.fail("there was no greeting")
    assert caught.value.code == "qmp.closed"


async def test_an_error_reply_is_raised_with_its_class(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(speaker.serve, {})
        with pytest.raises(QmpRefused) as caught:
            await session.execute("frobnicate", timeout_s=5)
        assert caught.value.error_class == "CommandNotFound"
        assert caught.value.command == "frobnicate"
        nursery.cancel_scope.cancel()


async def test_an_error_of_the_block_leaves_it_ungrouped(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Speaker(theirs).negotiate)
        with pytest.raises(KeyError):
            async with open_session(ours, greeting_timeout_s=5):
                raise KeyError("a")


async def test_replies_in_any_order_reach_their_callers(autojump_clock: MockClock) -> None:
    results: dict[int, object] = {}

    async def ask(session: QmpSession, index: int) -> None:
        results[index] = await session.execute("query-status", {"index": index}, timeout_s=5)

    async with open_talk() as (session, speaker):
        async with trio.open_nursery() as nursery:
            for index in range(20):
                nursery.start_soon(ask, session, index)
            requests = [await speaker.hear() for _ in range(20)]
            for request in reversed(requests):
                await speaker.answer(request, request["arguments"])
        assert results == {index: {"index": index} for index in range(20)}


async def test_a_late_reply_is_discarded_and_the_connection_stays_usable(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker):
        lost = await lost_by(session, "cont")
        assert (lost.code, lost.outcome_known) == ("qmp.timeout", False)
        late = await speaker.hear()
        await speaker.answer(late, "late")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.serve, {"query-status": "in time"})
            assert await session.execute("query-status", timeout_s=5) == "in time"
            nursery.cancel_scope.cancel()


async def test_a_command_cancelled_before_its_first_byte_was_never_sent(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.execute("quit", timeout_s=5)
        assert scope.cancelled_caught
        nursery.start_soon(session_execute_once, session)
        assert (await speaker.hear())["execute"] == "query-status"
        nursery.cancel_scope.cancel()


async def session_execute_once(session: QmpSession) -> None:
    await session.execute("query-status", timeout_s=5)


async def test_a_hung_qemu_gets_a_bounded_number_of_commands_and_later_ones_are_known_unsent(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker):
        async with trio.open_nursery() as nursery:
            for _ in range(UNANSWERED_LIMIT):
                nursery.start_soon(lost_by, session, "stop")
        assert (await lost_by(session, "cont")).outcome_known
        for _ in range(UNANSWERED_LIMIT):
            await speaker.answer(await speaker.hear(), {})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.serve, {"query-status": {}})
            assert await session.execute("query-status", timeout_s=5) == {}
            nursery.cancel_scope.cancel()


async def test_when_the_connection_ends_each_pending_command_is_lost_and_later_ones_are_known_unsent(
    autojump_clock: MockClock,
) -> None:
    lost: list[QmpLost] = []

    async def ask(session: QmpSession) -> None:
        lost.append(await lost_by(session, "stop"))

    async with open_talk() as (session, speaker):
        async with trio.open_nursery() as nursery:
            for _ in range(50 + UNANSWERED_LIMIT):
                nursery.start_soon(ask, session)
            await trio.testing.wait_all_tasks_blocked()
            await speaker.close()
        assert {one.code for one in lost} == {"qmp.closed"}
        assert [one.outcome_known for one in lost].count(False) == UNANSWERED_LIMIT
        assert len({id(one) for one in lost}) == 50 + UNANSWERED_LIMIT
        await session.wait_closed()
        assert session.closed
        assert session.ending == "QEMU closed the connection"
        later = await lost_by(session, "cont")
        assert (later.code, later.outcome_known) == ("qmp.closed", True)


async def test_leaving_the_block_loses_what_other_tasks_wait_for(autojump_clock: MockClock) -> None:
    lost: list[QmpLost] = []

    async def ask(session: QmpSession) -> None:
        lost.append(await lost_by(session, "stop"))

    async with trio.open_nursery() as nursery, open_talk() as (session, _):
        nursery.start_soon(ask, session)
        await trio.testing.wait_all_tasks_blocked()
    assert [(one.code, one.outcome_known) for one in lost] == [("qmp.closed", False)]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"garbage\n", "qmp.malformed"),
        (b"[1]\n", "qmp.malformed"),
        (b"{}\n", "qmp.malformed"),
        (b'{"return": 1}\n', "qmp.malformed"),
        (b'{"return": 1, "id": 999}\n', "qmp.malformed"),
        (b'{"return": 1, "id": 1}\n', "qmp.malformed"),  # answered already: qmp_capabilities
        (b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n', "qmp.malformed"),
        (repr(dict(GREETING)).replace("'", '"').encode() + b"\n", "qmp.malformed"),
        (b'{"return": "' + b"x" * 2**20, "qmp.oversized"),
    ],
    ids=lambda value: repr(value[:30]),
)
async def test_hostile_input_ends_the_connection_and_nothing_else(autojump_clock: MockClock, raw: bytes, code: str) -> None:
    async with open_talk() as (session, speaker):

        async def ask() -> None:
            assert (await lost_by(session, "stop")).code == code

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await speaker.say(raw)
        await session.wait_closed()
        assert session.ending is not None
        assert (await lost_by(session, "stop")).code == "qmp.closed"
        while await speaker.hear_line() is not None:  # the stream is closed, too
            pass


async def test_a_reply_cut_short_by_the_end_is_lost(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(speaker.say, b'{"return": {"status": "run')
        nursery.start_soon(close_after_hearing, speaker)
        lost = await lost_by(session, "query-status")
        assert (lost.code, lost.outcome_known) == ("qmp.closed", False)


async def close_after_hearing(speaker: Speaker) -> None:
    await speaker.hear()
    await speaker.close()


async def test_blank_lines_and_single_bytes_do_no_harm(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:

        async def answer_byte_by_byte() -> None:
            request = await speaker.hear()
            reply = '\r\n \r\n{"return": "ä", "id": ' + str(request["id"]) + "}\r\n"
            for byte in reply.encode():
                await speaker.say(bytes([byte]))

        nursery.start_soon(answer_byte_by_byte)
        assert await session.execute("query-status", timeout_s=5) == "ä"


async def test_events_come_in_order_and_end_with_the_connection(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker):
        await speaker.event("STOP")
        await speaker.event("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
        await speaker.close()
        events = [event async for event in session.events()]
    assert [event.name for event in events] == ["STOP", "SHUTDOWN"]
    assert events[1].data == {"guest": True, "reason": "guest-shutdown"}
    assert events[1].timestamp_s == 1700000000.25
    assert session.events_dropped == 0


async def test_a_flood_of_events_drops_the_oldest_and_commands_go_on(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker):
        flood = b"".join(b'{"event": "E", "data": {"n": %d}}\n' % number for number in range(EVENTS_LIMIT + 500))
        await speaker.say(flood)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.serve, {"query-status": {}})
            assert await session.execute("query-status", timeout_s=5) == {}
            nursery.cancel_scope.cancel()
        assert session.events_dropped == 500
        assert (await session.events().receive()).data == {"n": 500}


async def test_silence_is_measured_from_the_last_byte(autojump_clock: MockClock) -> None:
    async with open_talk() as (session, speaker):
        await trio.sleep(100)
        await speaker.event("RTC_CHANGE")
        await trio.testing.wait_all_tasks_blocked()
        heard = trio.current_time()
        await trio.sleep(7)
        assert session.silent_since == heard


async def test_cancelling_the_owner_closes_the_stream(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as scope:
        async with open_talk() as (_, speaker), trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.sleep, 1000))
            assert await speaker.hear_line() is None
    assert scope.cancelled_caught
