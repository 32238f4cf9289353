from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from qsup.errors import KernelRefused
from qsup.qmp.connect import connect_unix


def listening(path: str, backlog: int = 4) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(backlog)
    return listener


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.chdir(tmp_path)
    with listening("qmp.sock", backlog=0) as sock:
        yield sock


async def test_a_connection_carries_bytes(listener: socket.socket, tmp_path: Path) -> None:
    async with await connect_unix(str(tmp_path / "qmp.sock"), timeout_s=5) as stream:
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"hello")
        assert await stream.receive_some() == b"hello"


async def test_a_path_beyond_sun_path_is_reached_through_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    with listening("qmp.sock"):
        stream = await connect_unix(str(deep / "qmp.sock"), timeout_s=5)
        await stream.aclose()


async def test_a_name_that_is_too_long_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KernelRefused) as caught:
        await connect_unix(str(tmp_path / ("n" * 120)), timeout_s=5)
    assert (caught.value.code, caught.value.errno) == ("qmp.path-too-long", errno.ENAMETOOLONG)


async def test_what_is_missing_and_what_nobody_listens_on_are_told_apart(tmp_path: Path) -> None:
    short = Path("/tmp") / f"qsup-{tmp_path.name}.sock"
    for path in (short, tmp_path / ("d" * 100) / "qmp.sock"):
        with pytest.raises(KernelRefused) as caught:
            await connect_unix(str(path), timeout_s=5)
        assert (caught.value.code, caught.value.where) == ("qmp.no-socket", str(path))


async def test_a_socket_without_a_listener_refuses(listener: socket.socket, tmp_path: Path) -> None:
    listener.close()
    with pytest.raises(KernelRefused) as caught:
        await connect_unix(str(tmp_path / "qmp.sock"), timeout_s=5)
    assert caught.value.code == "qmp.connect-refused"


async def test_what_is_no_socket_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelRefused) as caught:
        await connect_unix(str(tmp_path / "file"), timeout_s=5)
    assert caught.value.code == "qmp.connect-refused"


async def test_a_full_backlog_is_waited_for_until_the_deadline(
    listener: socket.socket, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = str(tmp_path / "qmp.sock")
    async with await connect_unix(path, timeout_s=5):
        with pytest.raises(KernelRefused) as caught:
            await connect_unix(path, timeout_s=5)
        assert caught.value.code == "qmp.connect-timeout"
        assert trio.current_time() >= 5


async def test_a_backlog_that_drains_is_connected_to(
    listener: socket.socket, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = str(tmp_path / "qmp.sock")

    async def accept_later() -> None:
        await trio.sleep(3)
        listener.accept()[0].close()

    async with await connect_unix(path, timeout_s=5), trio.open_nursery() as nursery:
        nursery.start_soon(accept_later)
        second = await connect_unix(path, timeout_s=5)
        await second.aclose()
