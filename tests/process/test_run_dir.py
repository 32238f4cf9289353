"""The run directory: one daemon, whole directories, locks that live as long as their holders."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from qsup.errors import KernelRefused
from qsup.plan.vmplan import PathsPlan
from qsup.process.locks import is_locked, take_lock
from qsup.process.log_dir import open_log_dir
from qsup.process.run_dir import create_vm_dir, holder_of, lock_run_dir, remove_vm_dir, run_lock_of, vm_names
from tests.process.conftest import paths_in, small_tmpfs

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_second_daemon_is_refused_and_told_the_first_ones_pid(run_dir: str) -> None:
    with lock_run_dir(run_dir):
        with pytest.raises(KernelRefused, match=f"pid {os.getpid()}, uses the run directory") as caught, lock_run_dir(run_dir):
            pass
        assert caught.value.code == "process.run-dir-in-use"
    with lock_run_dir(run_dir):
        pass


_DAEMON = """
import sys
from qsup.process.run_dir import lock_run_dir
with lock_run_dir(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_daemons_lock_ends_with_a_killed_daemon(run_dir: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _DAEMON, run_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "held\n"
        with pytest.raises(KernelRefused, match=f"pid {daemon.pid}"), lock_run_dir(run_dir):
            pass
        assert holder_of(run_dir) == daemon.pid
        daemon.kill()
    assert holder_of(run_dir) is None
    with lock_run_dir(run_dir):
        pass


def test_the_holder_is_not_told_from_what_an_earlier_daemon_wrote(run_dir: str) -> None:
    assert holder_of(f"{run_dir}/never-used") is None
    with lock_run_dir(run_dir):
        assert holder_of(run_dir) == os.getpid()
        Path(run_dir, "daemon.lock").write_text('{"pid": 1}')  # the holder is another process than the one named
        assert holder_of(run_dir) is None


def test_the_directories_have_their_modes_whatever_the_umask(run_dir: str) -> None:
    root = f"{run_dir}/deep/run"
    before = os.umask(0o077)
    try:
        with lock_run_dir(root):
            create_vm_dir(paths_in(root))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(os.stat(f"{root}/{path}").st_mode) for path in ("", "vms", "vms/web1", "vms/web1/run.lock")}
    assert modes == {"": 0o755, "vms": 0o711, "vms/web1": 0o700, "vms/web1/run.lock": 0o600}


def test_what_was_half_made_is_swept_and_never_counts_as_a_vm(run_dir: str) -> None:
    with lock_run_dir(run_dir):
        create_vm_dir(paths_in(run_dir, "b"))
        create_vm_dir(paths_in(run_dir, "a"))
        os.mkdir(f"{run_dir}/vms/.c.new")
        assert vm_names(run_dir) == ("a", "b")
    with lock_run_dir(run_dir):
        assert sorted(os.listdir(f"{run_dir}/vms")) == ["a", "b"]


def test_a_run_dir_that_is_not_there_has_no_vms(run_dir: str) -> None:
    assert vm_names(f"{run_dir}/none") == ()


def test_a_vm_dir_is_removed_whole_and_twice_without_harm(paths: PathsPlan) -> None:
    for path in (paths.launch_record, paths.qmp_socket, paths.serial_log, f"{paths.run_dir}/pools.json"):
        Path(path).touch()
    remove_vm_dir(paths)
    assert not os.path.exists(paths.run_dir)
    remove_vm_dir(paths)


def test_a_vm_that_runs_keeps_its_directory(paths: PathsPlan) -> None:
    held = take_lock(run_lock_of(paths.run_dir))
    assert held is not None
    for act in (create_vm_dir, remove_vm_dir):
        with pytest.raises(KernelRefused) as caught:
            act(paths)
        assert caught.value.code == "process.vm-running"
    os.close(held)
    remove_vm_dir(paths)


def test_a_dead_ones_directory_is_taken_over_without_its_record_but_with_its_pool_notes(paths: PathsPlan) -> None:
    for name in ("launch.json", "pools.json"):
        Path(paths.run_dir, name).touch()
    create_vm_dir(paths)
    assert sorted(os.listdir(paths.run_dir)) == ["log", "pools.json", "run.lock"]


def test_asking_for_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = take_lock(path)
    assert held is not None
    assert take_lock(path) is None
    assert is_locked(path)
    os.close(held)
    asking = os.open(path, os.O_RDONLY)
    assert not is_locked(path)
    again = take_lock(path)
    assert again is not None
    os.close(again)
    os.close(asking)


def test_a_lock_lives_as_long_as_the_last_who_inherited_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = take_lock(path)
    assert held is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(held,)):
        os.close(held)
        assert is_locked(path)
        assert take_lock(path) is None
    assert not is_locked(path)


@ROOT
@pytest.mark.root
def test_on_a_full_disk_nothing_half_made_is_left(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "full", 64 << 10) as full:
        with lock_run_dir(str(full)):
            pass
        _fill(full / "ballast")
        subprocess.run(["mount", "-o", f"remount,nr_inodes={_inodes(full)}", full], check=True)
        with pytest.raises(KernelRefused, match="No space left") as caught:
            create_vm_dir(paths_in(str(full)))
        assert caught.value.code == "process.disk-full"
        assert os.listdir(full / "vms") == []
        with lock_run_dir(str(full)):
            pass  # the next daemon can come up all the same


def _fill(path: Path) -> None:
    with suppress(OSError), open(path, "wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass


def _inodes(path: Path) -> int:
    """As many as are in use, and one more: the directory comes, its lock does not."""
    status = os.statvfs(path)
    return status.f_files - status.f_ffree + 1


@ROOT
@pytest.mark.root
def test_the_log_mount_goes_with_the_directory(paths: PathsPlan) -> None:
    assert open_log_dir(paths.log_dir, 1 << 20)
    assert os.path.ismount(paths.log_dir)
    remove_vm_dir(paths)
    assert paths.log_dir not in Path("/proc/self/mounts").read_text()
