"""What only a real socket shows: half-written lines, descriptors, a peer that no longer reads."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from qsup.errors import KernelRefused, QmpLost
from qsup.qmp.messages import Answer, Refusal
from qsup.qmp.request import Outcome, Question
from qsup.qmp.session import UNANSWERED_LIMIT, QmpSession
from tests.qmp.speaker import Speaker, open_talk, socket_streams

HUGE = {"command-line": "x" * 2**22}


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create("qsup-test")
    yield fd
    os.close(fd)


async def receive_fds(speaker: Speaker) -> tuple[bytes, list[int]]:
    """One read of the speaker's end, with the descriptors that came along."""
    assert isinstance(speaker.stream, trio.SocketStream)
    raw, ancillary, _, _ = await speaker.stream.socket.recvmsg(65536, socket.CMSG_SPACE(4 * 16))
    fds = [int.from_bytes(data[i : i + 4], "little") for _, _, data in ancillary for i in range(0, len(data), 4)]
    return raw, fds


async def test_a_deadline_inside_a_write_closes_the_connection(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, _):
        with pytest.raises(QmpLost) as caught:
            await session.execute("human-monitor-command", HUGE, timeout_s=5)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.timeout", False)
        assert session.closed
        with pytest.raises(QmpLost) as caught:
            await session.execute("query-status", timeout_s=5)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.closed", True)


async def test_a_cancel_inside_a_write_closes_the_connection_for_all(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, _):
        lost: list[QmpLost] = []

        async def ask(command: str) -> None:
            with pytest.raises(QmpLost) as caught:
                await session.execute(command, timeout_s=100)
            lost.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "stop")  # sent, waits for its reply
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(5) as scope:
                nursery.start_soon(ask_after_a_moment, ask)  # not sent, waits for the write before it
                await session.execute("human-monitor-command", HUGE, timeout_s=100)
        assert scope.cancelled_caught
        assert sorted((one.command or "", one.outcome_known) for one in lost) == [("cont", True), ("stop", False)]
        assert session.ending == "the write of human-monitor-command was interrupted"


async def ask_after_a_moment(ask: Callable[[str], Awaitable[None]]) -> None:
    await trio.sleep(1)
    await ask("cont")


async def test_a_deadline_while_another_command_writes_is_clean(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(execute_huge, session)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(QmpLost) as caught:
            await session.execute("cont", timeout_s=5)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.timeout", True)
        await speaker.answer(await speaker.hear(), "")
        await trio.testing.wait_all_tasks_blocked()
        assert not session.closed


async def stuff(stream: trio.SocketStream) -> int:
    """Fill the socket with blank lines until it takes no more; returns their number."""
    stuffing = 0
    with trio.move_on_after(1):  # the mock clock jumps once the full socket waits
        while True:
            stuffing += await stream.socket.send(b"\n" * 4096)
    return stuffing


async def test_a_command_that_waits_before_its_first_byte_when_the_end_comes_is_known_unsent(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = socket_streams()
    async with open_talk((ours, theirs)) as (session, speaker):
        await stuff(ours)

        async def ask() -> None:
            with pytest.raises(QmpLost) as caught:
                await session.execute("cont", timeout_s=5)
            assert (caught.value.code, caught.value.outcome_known) == ("qmp.malformed", True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await speaker.say(b"garbage\n")


async def test_a_deadline_before_the_first_byte_of_a_full_socket_is_clean(autojump_clock: MockClock) -> None:
    ours, theirs = socket_streams()
    async with open_talk((ours, theirs)) as (session, speaker):
        stuffing = await stuff(ours)
        with pytest.raises(QmpLost) as caught:
            await session.execute("cont", timeout_s=5)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.timeout", True)
        for _ in range(stuffing):
            assert await speaker.hear_line() == b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.serve, {"query-status": {}})
            assert await session.execute("query-status", timeout_s=5) == {}
            nursery.cancel_scope.cancel()


async def execute_huge(session: QmpSession) -> None:
    assert await session.execute("human-monitor-command", HUGE, timeout_s=100) == ""


async def test_the_last_words_of_a_qemu_that_is_gone_are_still_read(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        await speaker.event("SHUTDOWN", {"guest": False, "reason": "host-signal"})
        await speaker.close()
        with pytest.raises(QmpLost) as caught:
            await session.execute("query-status", timeout_s=5)
        assert caught.value.code == "qmp.closed"
        assert [event.name async for event in session.events()] == ["SHUTDOWN"]


async def test_a_peer_that_no_longer_reads_but_stays_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        assert isinstance(speaker.stream, trio.SocketStream)
        speaker.stream.socket.shutdown(socket.SHUT_RD)
        with pytest.raises(QmpLost) as caught:
            await session.execute("query-status", timeout_s=5)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.closed", True)
        await session.wait_closed()
        assert session.ending == "QEMU no longer reads commands"


async def test_descriptors_travel_with_their_command(autojump_clock: MockClock, memfd: int) -> None:
    async with open_talk(socket_streams()) as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(pass_fd, session, memfd)
        raw, fds = await receive_fds(speaker)
        assert raw.startswith(b'{"execute":"add-fd"')
        assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == ["/memfd:qsup-test (deleted)"]
        for fd in fds:
            os.close(fd)
        await speaker.say(b'{"return": {}, "id": 2}\n')


async def pass_fd(session: QmpSession, fd: int) -> None:
    await session.execute("add-fd", {"fdset-id": 1}, timeout_s=5, fds=(fd,))


async def test_the_turn_to_pass_descriptors_is_held_until_the_reply_even_without_a_caller(
    autojump_clock: MockClock, memfd: int
) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        with trio.move_on_after(5) as scope:
            await session.execute("add-fd", {"fdset-id": 1}, timeout_s=100, fds=(memfd,))
        assert scope.cancelled_caught
        with pytest.raises(QmpLost) as caught:
            await pass_fd(session, memfd)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.timeout", True)
        first = await speaker.hear()
        await speaker.answer(first, {})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_fd, session, memfd)
            await speaker.answer(await speaker.hear(), {})


async def test_a_descriptor_that_is_not_open_is_refused_and_harms_nobody(autojump_clock: MockClock, memfd: int) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        closed_fd = os.dup(memfd)
        os.close(closed_fd)
        with pytest.raises(KernelRefused) as caught:
            await pass_fd(session, closed_fd)
        assert caught.value.code == "qmp.fd-refused"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_fd, session, memfd)
            await speaker.answer(await speaker.hear(), {})


async def test_descriptors_need_a_socket(autojump_clock: MockClock, memfd: int) -> None:
    async with open_talk() as (session, _):
        with pytest.raises(ValueError, match="cannot pass through a StapledStream"):
            await pass_fd(session, memfd)


async def test_a_posted_command_is_waited_for_by_nobody(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        outcomes: list[Outcome] = []
        assert session.post("query-status", outcomes.append)
        request = await speaker.hear()
        assert (request["execute"], outcomes) == ("query-status", [])
        await speaker.answer(request, {"status": "running"})
        await trio.testing.wait_all_tasks_blocked()
        (outcome,) = outcomes
        assert isinstance(outcome, Answer)
        assert outcome.value == {"status": "running"}
        assert session.post("query-status", outcomes.append)
        await speaker.hear()
        await speaker.close()
        await session.wait_closed()
        lost = outcomes[1]
        assert isinstance(lost, QmpLost)
        assert (lost.code, lost.outcome_known) == ("qmp.closed", False)
        assert not session.post("query-status", outcomes.append)
        assert len(outcomes) == 2


async def test_several_commands_are_posted_by_one_write_each_with_an_outcome_of_its_own(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        outcomes: list[tuple[str, object]] = []
        questions = [
            Question("query-kvm", lambda outcome: outcomes.append(("kvm", getattr(outcome, "value", outcome)))),
            Question("query-stats", lambda outcome: outcomes.append(("stats", type(outcome))), {"target": "vm"}),
        ]
        assert session.post_together(questions)
        first, second = await speaker.hear(), await speaker.hear()
        assert (first["execute"], second["execute"], second["arguments"]) == ("query-kvm", "query-stats", {"target": "vm"})
        await speaker.refuse(second, "CommandNotFound", "none")
        await speaker.answer(first, True)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [("stats", Refusal), ("kvm", True)]


async def test_of_commands_posted_together_none_leaves_where_not_all_can(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker):
        outcomes: list[Outcome] = []
        for _ in range(UNANSWERED_LIMIT - 1):
            assert session.post("query-status", outcomes.append)
        two = [Question("query-kvm", outcomes.append)] * 2
        assert not session.post_together(two)
        assert session.post("query-name", outcomes.append), "the slot that was left is free"
        heard = [(await speaker.hear())["execute"] for _ in range(UNANSWERED_LIMIT)]
        assert heard[-1] == "query-name"
        assert outcomes == []


async def test_what_cannot_leave_at_once_is_not_posted(autojump_clock: MockClock) -> None:
    ours, theirs = socket_streams()
    async with open_talk((ours, theirs)) as (session, speaker):
        outcomes: list[Outcome] = []
        stuffing = await stuff(ours)
        assert not session.post("query-status", outcomes.append)
        for _ in range(stuffing):
            assert await speaker.hear_line() == b""
        for _ in range(UNANSWERED_LIMIT):
            assert session.post("query-status", outcomes.append)
        assert not session.post("query-status", outcomes.append), "a hung QEMU gets no more"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.serve, {"query-status": {}, "query-name": {}})
            await trio.sleep(1)
            assert len(outcomes) == UNANSWERED_LIMIT
            assert await session.execute("query-name", timeout_s=5) == {}, "every slot was given back"
            nursery.cancel_scope.cancel()


async def test_nothing_is_posted_into_the_middle_of_anothers_line(autojump_clock: MockClock) -> None:
    async with open_talk(socket_streams()) as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(execute_huge, session)
        await trio.testing.wait_all_tasks_blocked()
        assert not session.post("query-status", lambda outcome: None)
        request = await speaker.hear()
        await speaker.answer(request, "")
