"""The stub: what is in force before the first instruction, and what becomes of it when its daemon dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from qsup.errors import KernelRefused, QemuFailed
from qsup.plan.vmplan import PathsPlan
from qsup.process.handle import QemuProcess
from qsup.process.identity import ProcessIdentity, read_identity
from qsup.process.launch import spawn_stub
from qsup.process.locks import is_locked
from qsup.process.log_dir import tail
from qsup.process.run_dir import run_lock_of
from qsup.process.stub import STUB_NAME, Confinement, Stub, stub_words
from tests.process.conftest import until

Reaper = Callable[[ProcessIdentity], None]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


async def _stub(paths: PathsPlan, reaper: Reaper, *words: str, uid: int | None = None, groups: tuple[int, ...] = ()) -> Stub:
    stub = await spawn_stub(words, pass_fds=(), vm_dir=paths.run_dir, stderr_log=paths.stderr_log, uid=uid, groups=groups)
    reaper(stub.identity)
    return stub


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _daemon(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _DAEMON, *words], stdout=subprocess.PIPE, text=True)


async def _until_exec(pid: int, name: str) -> None:
    await until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == name)


async def test_the_released_stub_becomes_the_program_with_the_same_identity(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "sh", "-c", 'echo "$1 $$"; readlink /proc/$$/fd/0; exit 7', "x", "two words")
    process = stub.release()
    await process.wait_gone()
    assert tail(paths.stderr_log, 1000) == f"two words {stub.pid}\n/dev/null\n"
    assert process.ending().exit_status == 7
    assert process.identity == stub.identity
    process.close()


async def test_an_aborted_stub_runs_nothing(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "sh", "-c", "echo ran")
    await stub.abort()
    await stub.abort()
    assert tail(paths.stderr_log, 1000) == ""
    assert read_identity(stub.pid) != stub.identity
    assert not is_locked(run_lock_of(paths.run_dir))


async def test_a_cancelled_spawn_leaves_no_stub(paths: PathsPlan) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await spawn_stub(("sh", "-c", "echo ran"), pass_fds=(), vm_dir=paths.run_dir, stderr_log=paths.stderr_log)
    assert scope.cancelled_caught
    assert not is_locked(run_lock_of(paths.run_dir))
    assert tail(paths.stderr_log, 1000) == ""


_DAEMON = """
import sys, trio
from qsup.process.launch import spawn_stub
async def main():
    stub = await spawn_stub(("sh", "-c", "echo ran"), pass_fds=(), vm_dir=sys.argv[1], stderr_log=sys.argv[2])
    print(stub.pid, stub.identity.start_ticks, stub.identity.boot_id, flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


async def test_a_stub_whose_daemon_is_killed_exits_and_runs_nothing(paths: PathsPlan, reaper: Reaper) -> None:
    with _daemon(paths.run_dir, paths.stderr_log) as daemon:
        assert daemon.stdout is not None
        pid, start_ticks, boot = daemon.stdout.readline().split()
        identity = ProcessIdentity(int(pid), int(start_ticks), boot)
        reaper(identity)
        process = QemuProcess.open(identity)
        assert process is not None
        assert process.is_alive()
        assert is_locked(run_lock_of(paths.run_dir))
        daemon.kill()
        await process.wait_gone()
    ending = process.ending()
    assert not ending.known or ending.exit_status == 125
    assert tail(paths.stderr_log, 1000) == ""
    assert not is_locked(run_lock_of(paths.run_dir))
    process.close()


async def test_the_mask_set_on_the_stub_is_that_of_the_program(paths: PathsPlan, reaper: Reaper) -> None:
    pcpu = max(os.sched_getaffinity(0))
    stub = await _stub(paths, reaper, "sh", "-c", "grep Cpus_allowed_list /proc/self/status")
    stub.set_mask({pcpu})
    process = stub.release()
    await process.wait_gone()
    assert tail(paths.stderr_log, 1000).split() == ["Cpus_allowed_list:", str(pcpu)]
    process.close()


async def test_a_mask_that_cannot_be_had_is_refused(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "true")
    with pytest.raises(KernelRefused, match="8000") as caught:
        stub.set_mask({8000})
    assert caught.value.code == "process.mask-refused"
    present = min(os.sched_getaffinity(0))
    with pytest.raises(KernelRefused, match=f"asked for pCPUs {present},8000, the kernel gave {present}") as caught:
        stub.set_mask({present, 8000})
    assert caught.value.code == "process.mask-not-in-force"
    await stub.abort()


async def test_signals_are_unblocked_and_the_session_is_its_own(paths: PathsPlan, reaper: Reaper) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD})
    try:
        stub = await _stub(paths, reaper, "sleep", "1000")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    process = stub.release()
    await _until_exec(process.pid, "sleep")
    assert int(_status(process.pid)["SigBlk"], 16) == 0
    assert os.getsid(process.pid) == process.pid
    assert process.send_signal(signal.SIGTERM)
    await process.wait_gone()
    assert process.ending().signal == signal.SIGTERM
    process.close()


async def test_descriptors_keep_their_numbers_and_no_other_is_passed(paths: PathsPlan, reaper: Reaper) -> None:
    passed, kept = os.memfd_create("passed"), os.memfd_create("kept")
    try:
        stub = await spawn_stub(("sleep", "1000"), pass_fds=(passed,), vm_dir=paths.run_dir, stderr_log=paths.stderr_log)
        reaper(stub.identity)
        process = stub.release()
        await _until_exec(process.pid, "sleep")
        fds = {int(fd): os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    finally:
        os.close(passed)
        os.close(kept)
    assert fds.pop(0) == "/dev/null"
    assert fds.pop(1) == fds.pop(2) == paths.stderr_log
    assert fds.pop(passed).startswith("/memfd:passed")
    assert list(fds.values()) == [run_lock_of(paths.run_dir)]
    process.send_signal(signal.SIGKILL)
    await process.wait_gone()
    process.close()


async def test_a_stub_that_died_says_so_at_its_release(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "true")
    stub.process.send_signal(signal.SIGKILL)
    await stub.process.wait_gone()
    with pytest.raises(QemuFailed, match="was killed by signal 9") as caught:
        stub.release()
    assert caught.value.code == "process.stub-died"
    await stub.abort()


async def test_a_binary_that_is_missing_ends_the_process_with_the_shells_words(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "/no/such/qemu")
    process = stub.release()
    await process.wait_gone()
    assert process.ending().exit_status == 127
    assert "/no/such/qemu" in tail(paths.stderr_log, 1000)
    process.close()


async def test_a_second_launch_of_a_running_vm_is_refused(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "true")
    with pytest.raises(KernelRefused) as caught:
        await _stub(paths, reaper, "true")
    assert caught.value.code == "process.vm-running"
    await stub.abort()
    again = await _stub(paths, reaper, "true")
    await again.abort()


@ROOT
@pytest.mark.root
async def test_a_confined_program_has_its_uid_no_rights_and_empty_namespaces(paths: PathsPlan, reaper: Reaper) -> None:
    stub = await _stub(paths, reaper, "sh", "-c", "cat /proc/net/dev; exec sleep 1000", uid=7_654_321, groups=(31, 32))
    process = stub.release()
    await _until_exec(process.pid, "sleep")
    status = _status(process.pid)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"7654321"}
    assert status["Groups"].split() == ["31", "32"]
    assert {int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert [line.split(":")[0].strip() for line in tail(paths.stderr_log, 4000).splitlines()[2:]] == ["lo"]
    for namespace in ("net", "mnt", "ipc"):
        assert os.readlink(f"/proc/{process.pid}/ns/{namespace}") != os.readlink(f"/proc/self/ns/{namespace}")
    assert os.readlink(f"/proc/{process.pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    assert process.identity == stub.identity == read_identity(process.pid)
    process.send_signal(signal.SIGKILL)
    await process.wait_gone()
    process.close()


async def test_a_confinement_that_fails_is_told_in_the_tools_words(
    paths: PathsPlan, reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "setpriv"
    tool.write_text("#!/bin/sh\necho setpriv: setresuid failed >&2\nexit 127\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    stub = await _stub(paths, reaper, "sh", "-c", "echo ran")
    await stub.process.wait_gone()
    with pytest.raises(QemuFailed, match="exited with status 127 before") as caught:
        stub.release()
    assert caught.value.code == "process.stub-died"
    assert caught.value.last_words == "setpriv: setresuid failed\n"
    await stub.abort()


async def test_a_missing_tool_is_named(paths: PathsPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelRefused, match="'setpriv' is not installed"):
        await spawn_stub(("true",), pass_fds=(), vm_dir=paths.run_dir, stderr_log=paths.stderr_log)
    assert not is_locked(run_lock_of(paths.run_dir))


@pytest.mark.parametrize("uid", [0, -1, 2**32 - 1])
def test_a_uid_that_would_leave_qemu_root_is_no_confinement(uid: int) -> None:
    with pytest.raises(ValueError, match=str(uid)):
        Confinement(uid)


def test_without_confinement_only_new_privileges_are_forbidden() -> None:
    words = stub_words(("qemu", "-S"), None)
    assert words[:4] == ("setpriv", "--no-new-privs", "--", "sh")
    assert words[-3:] == (STUB_NAME, "qemu", "-S")


def test_without_groups_the_groups_are_cleared() -> None:
    assert "--clear-groups" in stub_words(("qemu",), Confinement(5))
    assert "--groups" not in stub_words(("qemu",), Confinement(5))
