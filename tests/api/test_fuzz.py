"""Bytes of every kind: the server answers or closes, logs no fault of its own, and goes on serving others."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qsup.api.routes import ROUTES
from tests.api.serving import raw_client, serving

PATHS = [route.path.replace("{name}", "web1") for route in ROUTES]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI", "G\x00T", ""]
HEADERS = [
    b"Content-Length: 2",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 2\r\nContent-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: qsup-console",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Expect: 100-continue",
    b"Last-Event-ID: -3",
    b"Bad Header",
    b": empty",
    b"X: \xff\xfe",
    b" folded",
]
BODIES = st.sampled_from([b"", b"{}", b'{"wait": 1}', b'{"command": "x"}', b"2\r\n{}\r\n0\r\n\r\n", b"\x00"]) | st.binary(
    max_size=40
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request."""
    target = draw(st.sampled_from(PATHS) | st.text(max_size=20)) + draw(st.sampled_from(["", "?after=1", "?a=%ff", "?" * 9]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2", "HTTP/0.9", ""]))
    line = f"{draw(st.sampled_from(METHODS))} {target} {version}".encode("utf-8", "replace")
    headers = draw(st.lists(st.sampled_from(HEADERS) | st.binary(max_size=20), max_size=4))
    return b"\r\n".join([line, b"Host: x", *headers, b"", draw(BODIES)])


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests() | st.binary(max_size=60), min_size=1, max_size=4))
@example([b"GET /v1/vms/web1/console HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: qsup-console\r\n\r\n", b"\xff" * 9])
@example([b"HEAD /v1/host HTTP/1.1\r\nHost: x\r\n\r\n{}"])
@example([b"CONNECT /v1/vms HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_no_bytes_hurt_the_server(parts: list[bytes]) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logging.getLogger("qsup.api").addHandler(handler)
    try:
        trio.run(send_and_check, parts, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        logging.getLogger("qsup.api").removeHandler(handler)
    assert records == []


async def send_and_check(parts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with serving(Path(directory)) as served:
            async with raw_client(served) as client:
                try:
                    for part in parts:
                        await client.send(part)
                    await client.stream.send_eof()
                except trio.BrokenResourceError:
                    pass
                await client.to_end()
            async with raw_client(served) as other:
                assert (await other.ask("GET", "/v1/host"))[0] == 200


def test_the_fuzz_would_notice(caplog: pytest.LogCaptureFixture) -> None:
    """The counter-proof: a fault of a handler is an ERROR record of the logger that the fuzz listens to."""
    request = b'POST /v1/vms/web1/qmp HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"command": "crash"}'
    trio.run(send_and_check, [request], clock=trio.testing.MockClock(autojump_threshold=0))
    assert [record.name for record in caplog.records if record.levelno == logging.ERROR] == ["qsup.api.server"]
