"""Logs: the bound holds with no daemon, the newest part is kept, and the last words find room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qsup.plan.vmplan import PathsPlan
from qsup.process.fds import open_log
from qsup.process.identity import ProcessIdentity
from qsup.process.launch import spawn_stub
from qsup.process.log_dir import close_log_dir, open_log_dir, tail, trim_logs
from tests.process.conftest import until

pytestmark = pytest.mark.root
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
LIMIT = 128 << 10


@pytest.fixture
def log_dir(paths: PathsPlan) -> Iterator[str]:
    assert open_log_dir(paths.log_dir, LIMIT)
    yield paths.log_dir
    close_log_dir(paths.log_dir)


def _sizes(log_dir: str) -> dict[str, int]:
    return {name: os.stat(f"{log_dir}/{name}").st_size for name in sorted(os.listdir(log_dir))}


def _mounts_of(pid: int) -> str:
    return Path(f"/proc/{pid}/mounts").read_text()


def _flood(path: str) -> int:
    """Write until the file system says no, as QEMU does; how much came."""
    fd, came = open_log(path), 0
    try:
        while True:
            came += os.write(fd, b"x" * 4096)
    except OSError:
        return came
    finally:
        os.close(fd)


@ROOT
def test_a_flood_without_a_daemon_ends_at_the_limit_and_leaves_room_for_the_last_words(log_dir: str) -> None:
    assert LIMIT // 2 <= _flood(f"{log_dir}/serial.log") < LIMIT
    words = open_log(f"{log_dir}/stderr.log")
    assert os.write(words, b"qemu: out of luck\n") == 18
    os.close(words)
    assert tail(f"{log_dir}/stderr.log", 100) == "qemu: out of luck\n"


@ROOT
def test_a_trim_makes_room_and_keeps_the_newest_part(log_dir: str) -> None:
    serial = open_log(f"{log_dir}/serial.log")
    os.write(serial, b"old" * 10_000)
    os.write(serial, b"new\n")
    _flood(f"{log_dir}/serial.log")
    os.write(serial, b"")
    trim_logs(log_dir, LIMIT)
    assert _sizes(log_dir) == {"serial.log": 0, "serial.log.1": LIMIT // 4, "stderr.log": 0}
    os.write(serial, b"newest\n")
    assert tail(f"{log_dir}/serial.log", 100) == "newest\n", "the writer's descriptor goes on at the new end"
    os.close(serial)
    _flood(f"{log_dir}/serial.log")
    trim_logs(log_dir, LIMIT)
    assert sum(_sizes(log_dir).values()) <= LIMIT // 4


def test_what_is_within_its_share_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "serial.log").write_bytes(b"a" * 100)
    (tmp_path / "stderr.log").write_bytes(b"b" * 101 + b"end")
    trim_logs(str(tmp_path), 400)
    assert _sizes(str(tmp_path)) == {"serial.log": 100, "stderr.log": 0, "stderr.log.1": 100}
    assert tail(str(tmp_path / "stderr.log.1"), 3) == "end"


@ROOT
def test_an_earlier_runs_logs_are_set_aside(log_dir: str) -> None:
    Path(log_dir, "stderr.log").write_text("old words")
    Path(log_dir, "serial.log").write_text("old boot")
    assert open_log_dir(log_dir, LIMIT)
    assert tail(f"{log_dir}/stderr.log", 100) == ""
    assert tail(f"{log_dir}/stderr.log.1", 100) == "old words"
    assert tail(f"{log_dir}/serial.log.1", 100) == "old boot"
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if log_dir in line]
    assert len(mounts) == 1, "mounted once, however often it is opened"
    assert {"nosuid", "nodev", "noexec", "size=128k"} <= set(mounts[0].split()[3].split(","))


@ROOT
async def test_the_mount_leaves_the_namespaces_of_other_vms_too(
    log_dir: str, paths: PathsPlan, tmp_path: Path, reaper: Callable[[ProcessIdentity], None]
) -> None:
    stub = await spawn_stub(
        ("true",), pass_fds=(), vm_dir=paths.run_dir, stderr_log=str(tmp_path / "stderr.log"), uid=7_654_321
    )
    reaper(stub.identity)
    await until(lambda: os.readlink(f"/proc/{stub.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"))
    assert log_dir in _mounts_of(stub.pid)
    close_log_dir(log_dir)
    assert log_dir not in _mounts_of(stub.pid)
    await stub.abort()


@ROOT
def test_a_flood_of_the_earlier_run_leaves_room_for_the_next(log_dir: str) -> None:
    _flood(f"{log_dir}/serial.log")
    assert open_log_dir(log_dir, LIMIT)
    assert _sizes(log_dir) == {"serial.log": 0, "serial.log.1": LIMIT // 4, "stderr.log": 0}
    assert _flood(f"{log_dir}/serial.log") > LIMIT // 4


@ROOT
def test_a_smaller_limit_holds_even_when_more_is_there(log_dir: str) -> None:
    _flood(f"{log_dir}/serial.log")
    assert open_log_dir(log_dir, LIMIT // 2)
    assert _flood(f"{log_dir}/serial.log") < LIMIT // 2


def test_closing_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    close_log_dir(str(tmp_path / "none"))


def test_a_tail_is_text_whatever_stands_there(tmp_path: Path) -> None:
    assert tail(str(tmp_path / "none"), 10) == ""
    (tmp_path / "log").write_bytes(b"abc\xffdef")
    assert tail(str(tmp_path / "log"), 4) == "\ufffddef"


@ROOT
def test_an_ordinary_user_has_a_plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.chdir(tmp_path)
    os.seteuid(65534)
    try:
        assert not open_log_dir("log", LIMIT)
    finally:
        os.seteuid(0)
    assert os.path.isdir(tmp_path / "log")
    assert not os.path.ismount(tmp_path / "log")
