"""What a next daemon finds: living, dead, stray and left-over VMs; and the same asked without any daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import evolve

from qsup.plan.vmplan import PathsPlan
from qsup.process.adopt import Found, scan
from qsup.process.identity import ProcessIdentity
from qsup.process.launch import spawn_stub
from qsup.process.offline import status_offline
from qsup.process.record import LaunchRecord, record_of, write_record
from qsup.process.run_dir import create_vm_dir, remove_vm_dir_at, run_lock_of
from qsup.process.stub import Stub
from tests.process.conftest import paths_in
from tests.process.test_record import RECORDS

Reaper = Callable[[ProcessIdentity], None]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


async def _launch(paths: PathsPlan, reaper: Reaper, *words: str) -> Stub:
    stub = await spawn_stub(words, pass_fds=(), vm_dir=paths.run_dir, stderr_log=paths.stderr_log)
    reaper(stub.identity)
    return stub


def _record(identity: ProcessIdentity | None) -> LaunchRecord:
    record = record_of("golden", (RECORDS / "v1.json").read_bytes())
    assert isinstance(record, LaunchRecord)
    return evolve(record, identity=identity)


def _found(run_dir: str) -> Found:
    (found,) = scan(run_dir)
    return found


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _run_in(directory: str, program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([program, "1000"], cwd=directory)


async def _end(stub: Stub) -> None:
    stub.process.send_signal(signal.SIGKILL)
    await stub.process.wait_gone()
    stub.process.ending()


async def test_a_running_vm_is_found_by_its_record_and_dead_afterwards(run_dir: str, paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _launch(paths, reaper, "sleep", "1000")
    write_record(paths.launch_record, _record(stub.identity))
    stub.release()
    found = _found(run_dir)
    assert found.name == "web1"
    assert found.record == _record(stub.identity)
    assert found.process is not None
    assert found.process.is_alive()
    assert (found.strays, found.problem, found.is_leftover) == ((), None, False)
    assert status_offline(run_dir, "web1") == "running"
    found.process.close()
    await _end(stub)
    found = _found(run_dir)
    assert (found.process, found.strays, found.is_leftover) == (None, (), False)
    assert status_offline(run_dir, "web1") == "not-running"
    stub.process.close()


@pytest.mark.parametrize("damage", ["unreadable", "missing", "other process", "before the spawn"])
async def test_a_process_without_its_record_is_a_stray(run_dir: str, paths: PathsPlan, reaper: Reaper, damage: str) -> None:
    stub = await _launch(paths, reaper, "sleep", "1000")
    if damage == "unreadable":
        _write(paths.launch_record, "{")
    elif damage == "other process":
        write_record(paths.launch_record, _record(evolve(stub.identity, start_ticks=1)))
    elif damage == "before the spawn":
        write_record(paths.launch_record, _record(None))
    found = _found(run_dir)
    assert found.process is None
    assert found.strays == (stub.identity,)
    assert found.problem is not None
    assert str(stub.pid) in found.problem
    assert not found.is_leftover
    assert status_offline(run_dir, "web1") == "running"
    await stub.abort()
    found = _found(run_dir)
    assert found.strays == ()
    assert found.problem is None
    assert found.is_leftover == (damage in ("unreadable", "missing"))
    assert status_offline(run_dir, "web1") == "not-running"


async def test_a_removed_lock_does_not_hide_a_stray(run_dir: str, paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _launch(paths, reaper, "sleep", "1000")
    os.unlink(run_lock_of(paths.run_dir))
    assert _found(run_dir).strays == (stub.identity,)
    assert status_offline(run_dir, "web1") == "unknown"
    write_record(paths.launch_record, _record(stub.identity))
    assert status_offline(run_dir, "web1") == "running"
    await stub.abort()
    assert status_offline(run_dir, "web1") == "not-running"


def test_a_qemu_started_by_hand_in_the_directory_is_a_stray(run_dir: str, paths: PathsPlan) -> None:
    fake = Path(run_dir, "qemu-system-x86_64")
    shutil.copy("/bin/sleep", fake)
    with _run_in(paths.run_dir, str(fake)) as by_cwd, _run_in(paths.run_dir, "sleep") as other:
        pids = [stray.pid for stray in _found(run_dir).strays]
        by_cwd.kill()
        other.kill()
    assert pids == [by_cwd.pid]


async def test_a_zombie_of_a_recorded_vm_still_tells_how_it_ended(run_dir: str, paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _launch(paths, reaper, "sh", "-c", "exit 4")
    write_record(paths.launch_record, _record(stub.identity))
    await stub.release().wait_gone()
    found = _found(run_dir)
    assert found.process is not None
    assert not found.process.is_alive()
    assert found.strays == ()
    assert status_offline(run_dir, "web1") == "not-running"
    assert found.process.ending().exit_status == 4
    found.process.close()
    stub.process.close()


def test_left_over_directories_can_be_removed_and_vms_are_sorted(run_dir: str, paths: PathsPlan) -> None:
    for name in ("zeta", "alpha"):
        create_vm_dir(paths_in(run_dir, name))
    found = scan(run_dir)
    assert [entry.name for entry in found] == ["alpha", "web1", "zeta"]
    for entry in found:
        assert entry.is_leftover
        remove_vm_dir_at(entry.vm_dir)
    assert scan(run_dir) == ()


def test_offline_nothing_there_is_not_running(run_dir: str) -> None:
    assert status_offline(run_dir, "web1") == "not-running"
    assert status_offline(f"{run_dir}/none", "web1") == "not-running"


def test_offline_a_directory_that_tells_nothing_is_unknown(run_dir: str) -> None:
    os.makedirs(f"{run_dir}/vms/web1")
    assert status_offline(run_dir, "web1") == "unknown"
    identity = {"pid": 1, "start_ticks": 1, "boot_id": "another"}
    Path(run_dir, "vms/web1/launch.json").write_text(json.dumps({"identity": identity}))
    assert status_offline(run_dir, "web1") == "not-running"


@ROOT
@pytest.mark.root
def test_offline_what_may_not_be_looked_at_is_unknown(run_dir: str, paths: PathsPlan) -> None:
    os.chmod(run_dir, 0o711)
    os.seteuid(65534)
    try:
        assert status_offline(run_dir, "web1") == "unknown"
    finally:
        os.seteuid(0)


def test_offline_needs_the_standard_library_only() -> None:
    script = "import sys; from qsup.process.offline import status_offline; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in modules} & {"trio", "attr", "attrs", "cattrs", "jeepney"}
    assert {name for name in modules if name.startswith("qsup")} == {
        "qsup", "qsup.process", "qsup.process.offline", "qsup.process.locks", "qsup.process.procfs",
    }  # fmt: skip


async def test_twenty_are_scanned(run_dir: str, reaper: Reaper) -> None:
    stubs = []
    for number in range(20):
        paths = paths_in(run_dir, f"vm{number:02}")
        os.makedirs(f"{run_dir}/vms", exist_ok=True)
        create_vm_dir(paths)
        os.mkdir(paths.log_dir)
        stub = await _launch(paths, reaper, "sleep", "1000")
        write_record(paths.launch_record, _record(stub.identity))
        stubs.append(stub)
    found = await trio.to_thread.run_sync(scan, run_dir)
    assert [entry.process.identity for entry in found if entry.process is not None] == [stub.identity for stub in stubs]
    for entry, stub in zip(found, stubs, strict=True):
        assert entry.process is not None
        entry.process.close()
        await stub.abort()
