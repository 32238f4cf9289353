"""The client against the real server, and against what is no server at all."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from attrs import evolve

from qsup.api.client import (
    AnswerLost,
    Client,
    DaemonAbsent,
    Rejected,
    SocketPathTooLong,
    quote,
    vm_path,
)
from qsup.api.limits import Limits
from tests.api.serving import serving
from tests.api.views import EVENT

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


async def test_get_and_post(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = Client(f"{tmp_path}/")
        assert (await in_thread(lambda: client.get("/v1/vms/web1")))["phase"] == "running"
        outcome = await in_thread(lambda: client.post(vm_path("db1", "/start"), {"wait": True}))
        assert outcome["message"] == "running"
        assert served.registry.orders == [("db1", "start", False, False, True)]


async def test_rejections_carry_the_whole_error(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(Rejected) as caught:
            await in_thread(lambda: Client(str(tmp_path)).get(vm_path("wëb/1?")))
        assert (caught.value.status, caught.value.error["code"]) == (404, "api.unknown-vm")
        assert "wëb/1?" in caught.value.message


async def test_several_requests_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.registry.gate = trio.Event()
        client = Client(str(tmp_path))
        slow = client.send("POST", vm_path("db1", "/start"), {})
        assert (await in_thread(lambda: client.get("/v1/host")))["version"]
        served.registry.gate.set()
        assert (await in_thread(slow.read))["message"] == "running"


async def test_a_body_that_the_server_does_not_want_to_read(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(body_bytes=1000)):
        with pytest.raises(Rejected) as caught:
            await in_thread(lambda: Client(str(tmp_path)).post(vm_path("web1", "/hmp"), {"text": "x" * 3_000_000}))
        assert caught.value.status == 413


async def test_following(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        events = Client(str(tmp_path)).follow("/v1/events/stream?after=7")
        first = await in_thread(lambda: next(events))
        assert (first.type, first.data["seq"]) == ("message", 8)
        for seq in range(9, 60):
            served.registry.publish(evolve(EVENT, seq=seq, message="line\nbreak – «ü»"))
        rest = await in_thread(lambda: list(events))
        assert rest[-1].type == "lagged"
        assert {event.data["message"] for event in rest[:-1]} == {"line\nbreak – «ü»"}


async def test_a_daemon_that_dies_while_it_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.registry.gate = trio.Event()
        client = Client(str(tmp_path))
        reply = client.send("POST", vm_path("db1", "/start"), {})
        events = client.follow("/v1/events/stream?after=7")
        await in_thread(lambda: next(events))
        await served.registry.wait_until(lambda: len(served.registry.orders) == 1)
        served.scope.cancel()
        with pytest.raises(AnswerLost):
            await in_thread(reply.read)
        with pytest.raises(DaemonAbsent):
            await in_thread(lambda: next(events))


async def test_upgrade(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = Client(str(tmp_path))
        connection, first = await in_thread(lambda: client.upgrade(vm_path("web1", "/console"), "qsup-console"))
        with connection:
            (guest,) = served.registry.guest_ends
            await guest.send_all(b"login: ")
            assert first + await in_thread(lambda: connection.recv(100)) == b"login: "
            connection.sendall(b"root\r")
            assert await guest.receive_some(100) == b"root\r"
        with pytest.raises(Rejected):
            await in_thread(lambda: client.upgrade(vm_path("db1", "/console"), "qsup-console"))


def test_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(DaemonAbsent, match="No such file"):
        Client(str(tmp_path)).get("/v1/vms")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "api.sock"))
    with pytest.raises(DaemonAbsent, match="refused"):
        Client(str(tmp_path)).get("/v1/vms")
    with pytest.raises(SocketPathTooLong, match="107"):
        Client(str(tmp_path / ("x" * 200))).get("/v1/vms")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_daemon(tmp_path: Path, answer: bytes) -> None:
    """Whatever listens there, the client says so by an error of its own."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "api.sock"))
        listener.listen()

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(DaemonAbsent):
            Client(str(tmp_path)).get("/v1/vms")
        thread.join()


def test_quoting() -> None:
    assert quote("web-1.a_b~") == "web-1.a_b~"
    assert quote("a/b?c#ü") == "a%2Fb%3Fc%23%C3%BC"


def test_the_client_imports_the_standard_library_only() -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); before = set(sys.modules); import qsup.api.client; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) - set(sys.stdlib_module_names) == {"qsup"}
