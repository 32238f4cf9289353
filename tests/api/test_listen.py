"""The socket's file: its mode, its group, what it replaces, what is too long."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from qsup.api.listen import group_id_of, open_api_socket
from qsup.errors import KernelRefused


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_without_a_group_only_the_owner_may_connect(tmp_path: Path) -> None:
    async with open_api_socket(str(tmp_path), None):
        assert mode_of(tmp_path / "api.sock") == 0o600
    assert names_in(tmp_path) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another group")
async def test_with_a_group_its_members_may_connect(tmp_path: Path) -> None:
    async with open_api_socket(str(tmp_path), 54321):
        path = tmp_path / "api.sock"
        assert (mode_of(path), path.stat().st_gid) == (0o660, 54321)


async def test_stale_files_are_replaced(tmp_path: Path) -> None:
    for name in ("api.sock", ".api.new"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / name))
    async with open_api_socket(str(tmp_path), None):
        async with await trio.open_unix_socket(str(tmp_path / "api.sock")):
            pass
        assert names_in(tmp_path) == ["api.sock"]


async def test_a_name_that_somebody_else_took_stays(tmp_path: Path) -> None:
    async with open_api_socket(str(tmp_path), None):
        (tmp_path / "new").write_text("")
        (tmp_path / "new").rename(tmp_path / "api.sock")
    assert (tmp_path / "api.sock").exists()


async def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    room = 107 - len("/api.sock") - len(str(tmp_path)) - 1
    (tmp_path / ("d" * room)).mkdir()
    async with open_api_socket(str(tmp_path / ("d" * room)), None):
        pass
    with pytest.raises(KernelRefused, match="107") as caught:
        async with open_api_socket(str(tmp_path / ("d" * (room + 1))), None):
            pass
    assert caught.value.code == "api.socket-path-too-long"


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KernelRefused, match="No such file") as caught:
        async with open_api_socket(str(tmp_path / "nowhere"), None):
            pass
    assert caught.value.code == "api.cannot-listen"


def test_groups_by_name() -> None:
    assert group_id_of("root") == 0
    assert group_id_of("no-such-group-here") is None
