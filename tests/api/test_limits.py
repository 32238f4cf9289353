"""Slow and greedy clients, on a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from qsup.api.limits import Limits
from tests.api.serving import raw_client, serving


async def test_an_idle_connection_ends(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        assert await client.to_end() == b""
        assert trio.current_time() >= Limits().idle_s


async def test_an_idle_connection_ends_after_a_request_too(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.ask("GET", "/v1/vms")
        assert await client.to_end() == b""


async def test_slow_loris(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A header line every second does not keep a request open."""
    async with serving(tmp_path) as served, raw_client(served) as loris, raw_client(served) as other:

        async def drip() -> None:
            await loris.send(b"GET /v1/vms HTTP/1.1\r\n")
            for number in range(1000):
                await loris.send(b"X-%d: y\r\n" % number)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await other.ask("GET", "/v1/vms"))[0] == 200
            status, body = await loris.reply()
            nursery.cancel_scope.cancel()
        assert (status, body["error"]["code"]) == (408, "api.slow-request")
        assert trio.current_time() <= Limits().request_s + 2


async def test_a_body_that_does_not_come(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.send(b"POST /v1/vms/db1/start HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        assert (await client.reply())[0] == 408
        assert served.registry.orders == []


async def test_an_order_may_take_long(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        served.registry.gate = trio.Event()
        async with trio.open_nursery() as nursery:

            async def open_gate() -> None:
                await trio.sleep(3600)
                served.registry.gate.set()

            nursery.start_soon(open_gate)
            assert (await client.ask("POST", "/v1/vms/db1/start"))[0] == 200


async def test_a_client_that_does_not_read_is_dropped(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Requests without end, replies never read: the connection ends, and others are served meanwhile."""
    async with serving(tmp_path) as served, raw_client(served) as greedy, raw_client(served) as other:
        dropped = False
        try:
            for _ in range(100_000):
                await greedy.send(b"GET /v1/vms/web1 HTTP/1.1\r\nHost: x\r\n\r\n")
        except trio.BrokenResourceError:
            dropped = True
        assert dropped
        assert (await other.ask("GET", "/v1/vms"))[0] == 200


async def test_too_many_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(connections=2)) as served:
        async with raw_client(served) as one, raw_client(served) as two:
            assert (await one.ask("GET", "/v1/vms"))[0] == 200
            assert (await two.ask("GET", "/v1/vms"))[0] == 200
            async with raw_client(served) as three:
                status, body = await three.ask("GET", "/v1/vms")
                assert (status, body["error"]["code"]) == (503, "api.too-many-connections")
                assert await three.to_end() == b""
        await trio.testing.wait_all_tasks_blocked()
        async with raw_client(served) as four:
            assert (await four.ask("GET", "/v1/vms"))[0] == 200
