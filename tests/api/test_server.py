"""Requests and replies over a real socket."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from qsup.api.limits import Limits
from qsup.errors import QsupError, Refused
from tests.api import views
from tests.api.serving import raw_client, serving


async def test_reading(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        status, body = await client.ask("GET", "/v1/vms")
        assert (status, [vm["name"] for vm in body["vms"]]) == (200, ["big1", "db1", "web1"])
        status, body = await client.ask("GET", "/v1/vms/web1")
        assert (status, body["pid"], body["threads"][1]["affinity"]) == (200, 4242, "0-63")
        assert await client.ask("GET", "/v1/host") == (200, views.HOST)
        status, body = await client.ask("GET", "/v1/vms/web1/cmdline")
        assert body["options"][1] == {"flag": "-S", "value": None, "why": "pinned before it runs"}


async def test_orders_reach_the_registry(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        status, body = await client.ask("POST", "/v1/vms/db1/start", {"paused": True})
        assert (status, body["changed"], body["message"]) == (200, True, "paused")
        await client.ask("POST", "/v1/vms/db1/stop", {"force": True, "wait": False})
        for verb in ("restart", "pause", "resume", "reset"):
            status, body = await client.ask("POST", f"/v1/vms/db1/{verb}")
            assert (status, body["verb"]) == (200, verb)
        assert served.registry.orders == [
            ("db1", "start", True, False, True),
            ("db1", "stop", False, True, False),
            ("db1", "restart", False, False, True),
            ("db1", "pause", False, False, True),
            ("db1", "resume", False, False, True),
            ("db1", "reset", False, False, True),
        ]


async def test_monitor(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        order = {"command": "query-status", "arguments": {"a": 1}}
        status, body = await client.ask("POST", "/v1/vms/web1/qmp", order)
        assert (status, body) == (200, {"result": {"status": "running", "arguments": {"a": 1}}})
        status, body = await client.ask("POST", "/v1/vms/web1/qmp", {"command": "nope"})
        assert (status, body["error"]["error_class"]) == (502, "CommandNotFound")
        assert await client.ask("POST", "/v1/vms/web1/hmp", {"text": "info"}) == (200, {"result": "you said info\r\n"})


async def test_errors_keep_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        served.registry.failures = {
            "web1": Refused((views.REASON,)),
            "db1": QsupError("supervisor.failed", "it did not start"),
        }
        status, body = await client.ask("POST", "/v1/vms/web1/start")
        assert (status, body["error"]["reasons"][0]["code"]) == (409, "plan.no-hugepages")
        status, body = await client.ask("POST", "/v1/vms/db1/start")
        assert (status, body["error"]["kind"]) == (500, "failed")
        status, body = await client.ask("POST", "/v1/vms/db1/start", {"wiat": True})
        assert (status, body["error"]["problems"][0]["key"]) == (422, "wiat")
        status, body = await client.ask("GET", "/v1/vms/web")
        assert (status, body["error"]["hint"]) == (404, "did you mean web1?")
        assert (await client.ask("PUT", "/v1/vms/web1"))[0] == 405
        assert (await client.ask("GET", "/v1/vms"))[0] == 200


async def test_a_fault_of_our_own_is_logged_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        status, body = await client.ask("POST", "/v1/vms/web1/qmp", {"command": "crash"})
        assert (status, body["error"]["code"]) == (500, "api.internal")
        assert "ZeroDivisionError" not in str(body)
        assert any(record.exc_info and record.levelno == logging.ERROR for record in caplog.records)
        assert (await client.ask("GET", "/v1/vms"))[0] == 200


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        one = b"GET /v1/vms/%s HTTP/1.1\r\nHost: x\r\n\r\n"
        await client.send(one % b"web1" + one % b"db1" + one % b"nope")
        assert (await client.reply())[1]["name"] == "web1"
        assert (await client.reply())[1]["name"] == "db1"
        assert (await client.reply())[0] == 404


async def test_a_pipelined_request_waits_for_a_slow_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        served.registry.gate = trio.Event()
        await client.send(b"POST /v1/vms/db1/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"GET /v1/vms/db1 HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        served.registry.gate.set()
        assert (await client.reply())[1]["message"] == "running"
        assert (await client.reply())[1]["phase"] == "running"


async def test_a_client_that_leaves_ends_the_waiting(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.registry.gate = trio.Event()
        async with raw_client(served) as client:
            await client.send(b"POST /v1/vms/db1/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked()
            assert served.registry.orders
        await trio.testing.wait_all_tasks_blocked()
        assert served.registry.cancelled_waits == 1


async def test_one_slow_order_delays_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as slow, raw_client(served) as quick:
        served.registry.gate = trio.Event()
        await slow.send(b"POST /v1/vms/db1/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert (await quick.ask("GET", "/v1/vms"))[0] == 200
        served.registry.gate.set()
        assert (await slow.reply())[0] == 200


async def test_connection_close_and_http_1_0(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with raw_client(served) as client:
            await client.ask("GET", "/v1/vms", headers="Connection: close\r\n")
            assert await client.to_end() == b""
        async with raw_client(served) as client:
            await client.send(b"GET /v1/host HTTP/1.0\r\n\r\n")
            assert (await client.to_end()).endswith(b"}")


async def test_head_has_no_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.send(b"HEAD /v1/vms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await client.to_end()).endswith(b"\r\n\r\n")


async def test_expect_100_continue(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        head = b"POST /v1/vms/web1/hmp HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n"
        await client.send(head)
        assert b"100" in await client.until(b"\r\n\r\n")
        await client.send(b'{"text": "x"}')
        assert (await client.reply())[0] == 200


async def test_faults_of_http_get_a_code_and_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(header_bytes=2000, body_bytes=100)) as served:
        cases = [
            (b"nonsense\r\n\r\n", 400, "api.bad-http"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 4000, 431, "api.headers-too-large"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, 413, "api.body-too-large"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "api.bad-http"),
        ]
        for request, status, code in cases:
            async with raw_client(served) as client:
                await client.send(request)
                got, body = await client.reply()
                assert (got, body["error"]["code"]) == (status, code)
                assert await client.to_end() == b""
