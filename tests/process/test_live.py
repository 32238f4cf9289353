"""Real QEMUs through the stub: confined from the first instruction, alive after their daemon, undisturbed by a full log."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from qsup.argv.option import Argv, FdNeed, Option
from qsup.plan.vmplan import PathsPlan
from qsup.process.adopt import scan
from qsup.process.fds import open_fds
from qsup.process.handle import QemuProcess
from qsup.process.identity import ProcessIdentity
from qsup.process.kvm_access import grant_kvm, revoke_kvm
from qsup.process.launch import spawn_stub
from qsup.process.log_dir import close_log_dir, open_log_dir, tail, trim_logs
from qsup.process.offline import status_offline
from tests.process.conftest import hlt_rom, rom, until

QEMU = shutil.which("qemu-system-x86_64") or ""
pytestmark = [
    pytest.mark.live,
    pytest.mark.root,
    pytest.mark.skipif(not QEMU, reason="no qemu-system-x86_64"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
UID = 7_654_322
Reaper = Callable[[ProcessIdentity], None]


def _argv(paths: PathsPlan, bios: Path, *, accel: str = "tcg") -> Argv:
    words = [
        ("-machine", f"pc-q35-7.2,accel={accel}"),
        ("-cpu", "qemu64"),
        ("-smp", "2"),
        ("-m", "32"),
        ("-display", "none"),
        ("-nodefaults", None),
        ("-no-user-config", None),
        ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"),
        ("-bios", "/proc/self/fd/@fd:bios@"),
        ("-chardev", "socket,id=qmp,fd=@fd:qmp@,server=on,wait=off"),
        ("-mon", "chardev=qmp,mode=control"),
        ("-add-fd", "fd=@fd:log@,set=1"),
        ("-chardev", "null,id=con,logfile=/dev/fdset/1,logappend=on"),
        ("-serial", "chardev:con"),
        ("-name", "web1,debug-threads=on"),
        ("-S", None),
    ]
    needs = (
        FdNeed("bios", "blob", str(bios)),
        FdNeed("qmp", "listen", paths.qmp_socket),
        FdNeed("log", "log", paths.serial_log, readonly=False),
    )
    return Argv(QEMU, tuple(Option(flag, value, "") for flag, value in words), needs)


async def _launch(paths: PathsPlan, argv: Argv, reaper: Reaper, mask: set[int], groups: tuple[int, ...] = ()) -> QemuProcess:
    with open_fds(argv, taps={}, vhosts={}) as bundle:
        words = argv.words(bundle.numbers)
        stub = await spawn_stub(
            words, pass_fds=bundle.fds, vm_dir=paths.run_dir, stderr_log=paths.stderr_log, uid=UID, groups=groups
        )
    reaper(stub.identity)
    stub.set_mask(mask)
    return stub.release()


def _qmp(paths: PathsPlan, *commands: str) -> list[object]:
    """Greeting, commands, their answers; a QEMU that is not up yet answers when it is."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(paths.qmp_socket)
        stream = connection.makefile("rw")
        answers = [json.loads(stream.readline())]
        for command in ("qmp_capabilities", *commands):
            stream.write(json.dumps({"execute": command}) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
            while "event" in answer:
                answer = json.loads(stream.readline())
            answers.append(answer)
        return answers[2:]


def _threads(pid: int) -> dict[str, dict[str, str]]:
    """tid → the fields of its status."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        lines = Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
        found[tid] = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return found


@pytest.mark.parametrize("accel", ["tcg", "kvm"])
async def test_all_threads_of_qemu_are_confined_and_masked_from_the_start(
    paths: PathsPlan, tmp_path: Path, reaper: Reaper, accel: str
) -> None:
    if accel == "kvm" and not os.path.exists("/dev/kvm"):  # noqa: ASYNC240
        pytest.skip("no /dev/kvm")
    pcpu = max(os.sched_getaffinity(0))
    groups = grant_kvm(UID) if accel == "kvm" else ()
    try:
        process = await _launch(paths, _argv(paths, hlt_rom(tmp_path), accel=accel), reaper, {pcpu}, groups)
        await trio.to_thread.run_sync(_qmp, paths, "query-status")
    finally:
        revoke_kvm(UID)
    threads = _threads(process.pid)
    assert len(threads) >= 4, "main, RCU and two vCPUs"
    for thread in threads.values():
        assert thread["Cpus_allowed_list"] == str(pcpu)
        assert set(thread["Uid"].split()) == {str(UID)}
        assert {int(thread[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (thread["NoNewPrivs"], thread["Seccomp"]) == ("1", "2")
    interfaces = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]  # noqa: ASYNC240
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    process.send_signal(signal.SIGTERM)
    await process.wait_gone()
    assert process.ending().exit_status == 0
    process.close()


_DAEMON = """
import json, sys, trio
from attrs import evolve
from pathlib import Path
from qsup.process.launch import spawn_stub
from qsup.process.record import record_of, write_record
async def main():
    vm_dir, golden, *words = sys.argv[1:]
    stub = await spawn_stub(words, pass_fds=(), vm_dir=vm_dir, stderr_log=vm_dir + "/log/stderr.log", uid=7654322)
    write_record(vm_dir + "/launch.json", evolve(record_of("golden", Path(golden).read_bytes()), identity=stub.identity))
    stub.release()
    print("released", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


async def test_a_qemu_outlives_its_killed_daemon_and_is_adopted(run_dir: str, paths: PathsPlan, reaper: Reaper) -> None:
    golden = str(Path(__file__).parent / "records" / "v1.json")
    words = [QEMU, "-machine", "q35,accel=tcg", "-display", "none", "-nodefaults", "-S"]

    def launch_and_kill() -> None:
        with subprocess.Popen(
            [sys.executable, "-c", _DAEMON, paths.run_dir, golden, *words], stdout=subprocess.PIPE, text=True
        ) as daemon:
            assert daemon.stdout is not None
            assert daemon.stdout.readline() == "released\n"
            daemon.kill()

    await trio.to_thread.run_sync(launch_and_kill)
    (found,) = scan(run_dir)
    assert found.record is not None
    assert found.process is not None
    reaper(found.process.identity)
    await until(lambda: len(_threads(found.process.pid)) > 1 if found.process is not None else False)
    assert found.process.is_alive()
    assert found.problem is None
    assert status_offline(run_dir, "web1") == "running"
    found.process.send_signal(signal.SIGKILL)
    await found.process.wait_gone()
    ending = found.process.ending()
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert ending.signal == 9 if release >= (6, 15) else not ending.known
    assert status_offline(run_dir, "web1") == "not-running"
    found.process.close()


async def test_a_guest_that_floods_its_console_with_no_daemon_runs_on(paths: PathsPlan, tmp_path: Path, reaper: Reaper) -> None:
    limit = 64 << 10
    # mov dx, 0x3f8; mov al, 'x'; out dx, al; jmp to out
    flood = rom(tmp_path, bytes.fromhex("baf803 b078 ee ebfd"))
    assert open_log_dir(paths.log_dir, limit)
    process = await _launch(paths, _argv(paths, flood), reaper, os.sched_getaffinity(0))
    status = os.statvfs(paths.log_dir)
    await trio.to_thread.run_sync(_qmp, paths, "cont")
    await until(lambda: os.statvfs(paths.log_dir).f_bfree == 0)
    assert status.f_blocks * status.f_frsize == limit
    (answer,) = await trio.to_thread.run_sync(_qmp, paths, "query-status")
    assert isinstance(answer, dict)
    assert answer["return"]["status"] == "running", "a full log stops nothing"
    trim_logs(paths.log_dir, limit)
    assert tail(f"{paths.serial_log}.1", 5) == "xxxxx"
    await until(lambda: os.stat(paths.serial_log).st_size > 0)
    process.send_signal(signal.SIGTERM)
    await process.wait_gone()
    assert "terminating on signal 15" in tail(paths.stderr_log, 1000), "its last words found room"
    process.close()
    close_log_dir(paths.log_dir)
