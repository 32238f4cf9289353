"""What people look at, as JSON and as server-sent events: top, topology, timeline, the truth tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio
import trio.testing
from attrs import evolve

from qsup.api.limits import Limits
from tests.api.serving import RawClient, raw_client, serving
from tests.api.tops import STARTS
from tests.api.views import FULL_VM

GOLDEN = Path(__file__).parent / "golden"


async def follow(client: RawClient, target: str) -> None:
    await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b"text/event-stream" in await client.until(b"\r\n\r\n")


async def next_event(client: RawClient) -> tuple[str, dict[str, Any]]:
    """(type, data); comments are passed over."""
    while True:
        part = (await client.until(b"\n\n")).decode()
        if "data: " in part:
            head, _, data = part.partition("data: ")
            kind = head.partition("event: ")[2].strip() or "message"
            return kind, json.loads(data)


async def test_top_is_told_once_and_each_second(tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "top.json").read_text())
    async with serving(tmp_path) as served, raw_client(served) as client, raw_client(served) as watcher:
        assert await client.ask("GET", "/v1/top") == (200, golden)
        _, one = await client.ask("GET", "/v1/top?vm=web1")
        assert ([vm["name"] for vm in one["vms"]], len(one["threads"])) == (["web1"], 5)
        status, body = await client.ask("GET", "/v1/top?vm=web")
        assert (status, body["error"]["code"]) == (404, "api.unknown-vm")
        served.registry.report = None
        _, nothing_yet = await client.ask("GET", "/v1/top")
        assert (nothing_yet["span_s"], nothing_yet["settled"]) == (None, False)
        await follow(watcher, "/v1/top/stream")
        (_, first), (_, second) = await next_event(watcher), await next_event(watcher)
        assert (first["settled"], second) == (False, golden)


async def test_the_timeline_comes_again_with_the_next_start(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client, raw_client(served) as watcher:
        served.registry.vms["web1"] = evolve(FULL_VM, starts=STARTS[1:])
        _, body = await client.ask("GET", "/v1/vms/web1/timeline")
        assert [start["outcome"] for start in body["starts"]] == ["qemu.died"]
        await follow(watcher, "/v1/vms/web1/timeline/stream")
        assert await next_event(watcher) == ("message", body)
        served.registry.vms["web1"] = evolve(FULL_VM, starts=STARTS)
        _, later = await next_event(watcher)
        assert [start["outcome"] for start in later["starts"]] == ["qemu.died", "running"], "the oldest first"
        del served.registry.vms["web1"]
        kind, fault = await next_event(watcher)
        assert (kind, fault["error"]["code"]) == ("error", "api.unknown-vm")
        assert (await client.ask("GET", "/v1/vms/web1/timeline/stream"))[0] == 404


async def test_the_topology_comes_again_when_it_has_changed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client, raw_client(served) as watcher:
        _, body = await client.ask("GET", "/v1/topology")
        assert (body["pcpus"], body["vms"], body["floating"]) == (2, ["web1"], [])
        await follow(watcher, "/v1/topology/stream")
        assert await next_event(watcher) == ("message", body)
        assert (await watcher.until(b"\n\n")).endswith(b": keep-alive\n\n")
        assert trio.current_time() >= Limits().keep_alive_s
        served.registry.picture = evolve(served.registry.picture, vms=("db1", "web1"))
        assert (await next_event(watcher))[1]["vms"] == ["db1", "web1"]


async def test_the_truth_is_told_of_all_and_of_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for query, names in (("", 3), ("?vm=big1", 1), ("?vm=web1", 1)):
            async with raw_client(served) as watcher:
                if query == "?vm=big1":
                    served.registry.vms["big1"] = evolve(FULL_VM, name="big1")
                await follow(watcher, f"/v1/verify/stream{query}")
                _, told = await next_event(watcher)
                assert len(told["vms"]) == names


async def test_the_audit_comes_again_each_minute(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path) as served:
        async with raw_client(served) as watcher:
            await follow(watcher, "/v1/audit/stream?skip=cpu.clocksource")
            _, first = await next_event(watcher)
            _, second = await next_event(watcher)
            assert first["skipped"] == second["skipped"] == ["cpu.clocksource"]
            assert trio.current_time() >= 60
        async with raw_client(served) as client:
            status, body = await client.ask("GET", "/v1/audit/stream?skip=no.such-rule")
            assert body["error"]["code"] == "truth.no-such-rule"
            assert status >= 400
