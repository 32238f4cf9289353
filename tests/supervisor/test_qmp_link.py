"""The link's probe: it waits for nobody, tells silence from slowness, and an answer that comes late still counts."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from qsup.supervisor.monitor_watch import watch_monitors
from qsup.supervisor.qmp_link import PROBES_APART, QmpLink
from qsup.supervisor.vm_state import VmState
from tests.qmp.speaker import Speaker

PATIENCE_S = 5.0
INTERVAL_S = PROBES_APART * PATIENCE_S
RUNNING = {"status": "running", "running": True}
Serve = Callable[[Speaker], Awaitable[None]]


async def settled(speaker: Speaker) -> None:
    """The control connection of a QEMU that runs."""
    await speaker.negotiate()
    await speaker.serve({"query-status": RUNNING})


@asynccontextmanager
async def linked(directory: Path, telemetry: Serve) -> AsyncIterator[QmpLink]:
    """A link that is kept up and probed every second, to a QEMU whose telemetry connection is served so."""

    async def talk(stream: trio.SocketStream, serve: Serve) -> None:
        async with stream:
            await serve(Speaker(stream))

    async def listen(name: str, serve: Serve) -> None:
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(str(directory / name))
        sock.listen()
        listening.append(name)
        with sock:
            while True:
                peer, _ = await sock.accept()
                nursery.start_soon(talk, trio.SocketStream(peer), serve)

    listening: list[str] = []
    vm = VmState("vm")
    link = QmpLink(
        str(directory / "qmp"),
        str(directory / "telemetry"),
        changed=vm.ring,
        on_event=lambda event: None,
        patience_s=PATIENCE_S,
        greeted=True,
    )
    vm.run.link = link
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, "qmp", settled)
        nursery.start_soon(listen, "telemetry", telemetry)
        while len(listening) < 2:
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(link.run)
        nursery.start_soon(watch_monitors, {"vm": vm})
        await link.wait_telemetry(10)
        yield link
        nursery.cancel_scope.cancel()


async def test_a_qemu_that_answers_is_asked_now_and_then(tmp_path: Path, autojump_clock: MockClock) -> None:
    asked_at_s: list[float] = []

    async def telemetry(speaker: Speaker) -> None:
        await speaker.negotiate()
        while True:
            request = await speaker.hear()
            asked_at_s.append(trio.current_time())
            await speaker.answer(request, RUNNING)

    async with linked(tmp_path, telemetry) as link:
        await trio.sleep(4 * INTERVAL_S)
        assert (link.silent_since_s, link.status) == (None, "running")
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked_at_s)]
    assert len(gaps) >= 3
    assert min(gaps) >= INTERVAL_S
    assert max(gaps) <= INTERVAL_S + 1.1


async def test_one_that_falls_silent_is_noted_and_its_late_answer_ends_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    requests: list[dict[str, object]] = []
    wake = trio.Event()

    async def telemetry(speaker: Speaker) -> None:
        await speaker.negotiate()
        requests.append(await speaker.hear())
        begun_s.append(trio.current_time())
        await wake.wait()
        await speaker.answer(requests[0], {"status": "paused", "running": False})
        await speaker.serve({"query-status": {"status": "paused", "running": False}})

    begun_s: list[float] = []
    async with linked(tmp_path, telemetry) as link:
        await trio.sleep(PATIENCE_S - 2)
        assert link.silent_since_s is None, "slow is not silent yet"
        await trio.sleep(4)
        assert link.silent_since_s == pytest.approx(begun_s[0], abs=0.1)
        await trio.sleep(100)
        assert len(requests) == 1, "one question is enough"
        wake.set()
        await trio.sleep(1)
        assert (link.silent_since_s, link.status) == (None, "paused")


async def test_an_answer_of_the_wrong_shape_is_an_answer(tmp_path: Path, autojump_clock: MockClock) -> None:
    async def telemetry(speaker: Speaker) -> None:
        await speaker.negotiate()
        await speaker.answer(await speaker.hear(), ["what"])
        await speaker.refuse(await speaker.hear(), "GenericError", "no")
        await speaker.serve({"query-status": RUNNING})

    async with linked(tmp_path, telemetry) as link:
        await trio.sleep(4 * INTERVAL_S)
        assert (link.silent_since_s, link.status) == (None, "running")


async def test_a_connection_that_ends_is_made_again_and_asked_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    times = 0

    async def telemetry(speaker: Speaker) -> None:
        nonlocal times
        times += 1
        await speaker.negotiate()
        await speaker.hear()
        await speaker.close()

    async with linked(tmp_path, telemetry) as link:
        await trio.sleep(2 * INTERVAL_S)
        assert link.silent_since_s is None
    assert times > 3
