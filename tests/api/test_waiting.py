"""Waiting and metrics over the API: one answer, a stream, and text that Prometheus' own parser reads."""

from __future__ import annotations

import json
from pathlib import Path

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from qsup.api.limits import Limits
from qsup.api.metrics_port import serve_metrics
from qsup.api.metrics_text import text_of
from qsup.supervisor.metric import Family, Sample
from tests.api.memory_registry import MemoryRegistry
from tests.api.reports import METRICS
from tests.api.serving import RawClient, raw_client, serving

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> object:
    return json.loads((GOLDEN / f"{name}.json").read_text())


async def test_the_last_span(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        assert await client.ask("GET", "/v1/wait") == (200, golden("wait"))
        assert await client.ask("GET", "/v1/wait?vm=web1") == (200, golden("wait-of-one"))
        served.registry.report = None
        assert await client.ask("GET", "/v1/wait") == (200, golden("wait-not-yet"))


async def test_an_unknown_vm_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        for target in ("/v1/wait?vm=web", "/v1/wait/stream?vm=web"):
            status, body = await client.ask("GET", target)
            assert (status, body["error"]["code"]) == (404, "api.unknown-vm")


async def next_event(client: RawClient) -> dict[str, object]:
    text = (await client.until(b"\n\n")).decode()
    data = text[text.index("data: ") + 6 :]
    event: dict[str, object] = json.loads(data)
    return event


async def test_the_stream_lasts_as_long_as_its_reader(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with raw_client(served) as client:
            await client.send(b"GET /v1/wait/stream?vm=web1 HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.until(b"\r\n\r\n")
            first, second = await next_event(client), await next_event(client)
            assert (first["blamed"], second["blamed"]) == (False, True)
            assert len(served.registry.wait_followers) == 1
        await served.registry.wait_until(lambda: not served.registry.wait_followers)


async def test_a_reader_that_lags_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.send(b"GET /v1/wait/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.until(b"\r\n\r\n")
        await next_event(client)
        for follower in served.registry.wait_followers:
            follower.close()
        assert b"event: lagged" in await client.until(b"event: lagged\n")


async def test_metrics_on_the_api(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        await client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await client.to_end()).partition(b"\r\n\r\n")
    assert b"text/plain; version=0.0.4" in head
    names = [family.name for family in text_string_to_metric_families(body.decode())]
    assert names == ["qsup_events", "qsup_vm_info", "qsup_host_steal_ratio"]


async def test_the_tcp_port_has_metrics_and_nothing_else() -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(lambda **kw: serve_metrics(MemoryRegistry(), listener, limits=Limits(connections=2), **kw))
        port = listener.socket.getsockname()[1]

        async def ask(request: str) -> bytes:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                client = RawClient(stream)
                await client.send(request.encode())
                return await client.to_end()

        with trio.fail_after(30):
            close = "Host: x\r\nConnection: close\r\n\r\n"
            assert b"qsup_host_steal_ratio 0.125" in await ask(f"GET /metrics?x=1 HTTP/1.1\r\n{close}")
            head = await ask(f"HEAD /metrics HTTP/1.1\r\n{close}")
            assert head.startswith(b"HTTP/1.1 200")
            assert head.endswith(b"\r\n\r\n")
            assert (await ask(f"GET /v1/vms HTTP/1.1\r\n{close}")).startswith(b"HTTP/1.1 404")
            assert (await ask(f"POST /metrics HTTP/1.1\r\n{close}")).startswith(b"HTTP/1.1 405")
            assert (await ask("rubbish\r\n\r\n")).startswith(b"HTTP/1.1 400")
            async with await trio.open_tcp_stream("127.0.0.1", port), await trio.open_tcp_stream("127.0.0.1", port):
                await trio.testing.wait_all_tasks_blocked()
                assert await ask(f"GET /metrics HTTP/1.1\r\n{close}") == b"", "no more than the limit"
        nursery.cancel_scope.cancel()


names = st.from_regex(r"qsup_[a-z_]{1,20}y", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
labels = st.dictionaries(st.sampled_from(["vm", "class", "code"]), texts, max_size=3)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**63)


@given(st.lists(st.tuples(labels, numbers), min_size=1, max_size=5, unique_by=lambda row: tuple(sorted(row[0].items()))), names)
def test_whatever_is_written_is_read_back(rows: list[tuple[dict[str, str], float]], name: str) -> None:
    family = Family(name, "gauge", 'a "help"\n with \\ all')
    for labelled, value in rows:
        family.add(value, **labelled)
    (read,) = text_string_to_metric_families(text_of([family]).decode())
    assert (read.name, read.type, read.documentation) == (name, "gauge", family.help)
    assert [(sample.labels, sample.value) for sample in read.samples] == rows


def test_families_without_samples_are_left_out() -> None:
    assert b"qsup_empty" not in text_of(METRICS)
    family = Family("qsup_x", "gauge", "x")
    family.add(None, vm="a")
    assert family.samples == []
    assert Sample((("vm", "a"),), 1.0).value == 1.0
