"""Server-sent events and the console; and that nobody who does not read can hold the shutdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from qsup.api.limits import Limits
from tests.api.serving import RawClient, Served, raw_client, serving
from tests.api.views import EVENT


async def follow(client: RawClient, query: str = "", headers: str = "") -> None:
    await client.send(f"GET /v1/events/stream{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert b"text/event-stream" in await client.until(b"\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()


async def next_event(client: RawClient) -> tuple[int, str]:
    text = (await client.until(b"\n\n")).decode()
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return int(fields["id"]), json.loads(fields["data"])["code"]


def publish(served: Served, seq: int, vm: str | None = "web1") -> None:
    served.registry.publish(evolve(EVENT, seq=seq, vm=vm, code=f"test.{seq}"))


async def test_history(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        _, body = await client.ask("GET", "/v1/events")
        assert ([event["seq"] for event in body["events"]], body["last_seq"]) == ([7, 8], 8)
        _, body = await client.ask("GET", "/v1/events?after=7")
        assert [event["seq"] for event in body["events"]] == [8]
        _, body = await client.ask("GET", "/v1/events?vm=web1")
        assert ([event["seq"] for event in body["events"]], body["last_seq"]) == ([7], 8)


@pytest.mark.parametrize("after", ["x", "-1", "", "1" * 30, "１"])
async def test_after_must_be_a_number(tmp_path: Path, after: str) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        quoted = "".join(f"%{byte:02X}" for byte in after.encode())
        status, body = await client.ask("GET", f"/v1/events?after={quoted}")
        assert (status, body["error"]["code"]) == (400, "api.bad-query")


async def test_following(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await follow(client)
        publish(served, 9)
        publish(served, 10)
        assert [await next_event(client), await next_event(client)] == [(9, "test.9"), (10, "test.10")]


async def test_following_goes_on_where_it_was(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for query, headers, first in (
            ("?after=7", "", 8),
            ("?after=8", "Last-Event-ID: 7\r\n", 8),
            ("?after=0", "", 7),
            ("?after=99999", "", 7),
        ):
            async with raw_client(served) as client:
                await follow(client, query, headers)
                assert (await next_event(client))[0] == first


async def test_following_one_vm(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await follow(client, "?vm=web1")
        publish(served, 9, vm="db1")
        publish(served, 10, vm=None)
        publish(served, 11)
        assert await next_event(client) == (11, "test.11")


async def test_silence_is_filled_with_comments(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await follow(client)
        assert (await client.until(b"\n\n")).endswith(b": keep-alive\n\n")
        assert trio.current_time() >= Limits().keep_alive_s


async def test_a_follower_that_lags_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await follow(client)
        for seq in range(9, 9 + 40):
            publish(served, seq)
        text = (await client.until(b"0\r\n\r\n")).decode()
        assert "event: lagged\ndata: " in text
        assert served.registry.follower_count() == 0
        assert (await client.ask("GET", "/v1/vms"))[0] == 200


async def test_a_follower_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with raw_client(served) as client:
            await follow(client)
            assert served.registry.follower_count() == 1
        await trio.testing.wait_all_tasks_blocked()
        assert served.registry.follower_count() == 0


async def stall(served: Served, client: RawClient) -> None:
    """Fill everything between the server and a follower that does not read."""
    served.registry.backlog = 100_000
    await follow(client)
    for seq in range(9, 9 + 3000):
        served.registry.publish(evolve(EVENT, seq=seq, message="x" * 500))
    await trio.testing.wait_all_tasks_blocked()


async def test_a_stalled_follower_does_not_hold_the_shutdown(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client, raw_client(served) as other:
        await stall(served, client)
        assert (await other.ask("GET", "/v1/vms"))[0] == 200
        served.scope.cancel()
        with trio.fail_after(5):
            await served.stopped.wait()


async def test_a_stalled_follower_is_dropped(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await stall(served, client)
        await trio.sleep(Limits().send_s + 1)
        assert served.registry.follower_count() == 0


UPGRADE = b"GET /v1/vms/web1/console HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: qsup-console\r\n\r\n"


async def test_console_carries_bytes_both_ways(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.send(UPGRADE + b"early")
        assert b" 101 " in await client.until(b"\r\n\r\n")
        (guest,) = served.registry.guest_ends
        assert await guest.receive_some(100) == b"early"
        await guest.send_all(b"login: \xff\x00")
        assert await client.until(b"\x00") == b"login: \xff\x00"
        await client.send(b"root\r")
        assert await guest.receive_some(100) == b"root\r"
        await guest.aclose()
        assert await client.to_end() == b""


async def test_console_ends_with_its_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with raw_client(served) as client:
            await client.send(UPGRADE)
            await client.until(b"\r\n\r\n")
        (guest,) = served.registry.guest_ends
        assert await guest.receive_some(100) == b""


async def test_console_client_that_does_not_read_is_dropped(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.send(UPGRADE)
        await client.until(b"\r\n\r\n")
        (guest,) = served.registry.guest_ends
        await guest.send_all(b"x" * 10_000_000)
        assert await guest.receive_some(100) == b""
        assert trio.current_time() >= Limits().send_s


async def test_console_refusals(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        status, body = await client.ask("GET", "/v1/vms/web1/console")
        assert (status, body["error"]["code"]) == (426, "api.needs-upgrade")
        wish = "Connection: Upgrade\r\nUpgrade: qsup-console\r\n"
        status, body = await client.ask("GET", "/v1/vms/db1/console", headers=wish)
        assert (status, body["error"]["code"]) == (409, "supervisor.not-running")
        assert (await client.ask("GET", "/v1/vms"))[0] == 200


async def test_open_consoles_and_orders_do_not_hold_the_shutdown(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as console, raw_client(served) as order:
        await console.send(UPGRADE)
        await console.until(b"\r\n\r\n")
        served.registry.gate = trio.Event()
        await order.send(b"POST /v1/vms/db1/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        served.scope.cancel()
        with trio.fail_after(5):
            await served.stopped.wait()
        assert await console.to_end() == b""
