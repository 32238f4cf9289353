"""How little a QEMU may do, how much it may write, and where its threads are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.live.evidence import masks_of, mounts_under
from tests.live.guests import CHATTERER, rom_of, vm_text
from tests.live.harness import Daemon, until
from tests.live.views import events_of, order, view_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

LOG_BYTES = 64 << 10


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_each_qemu_is_a_user_of_its_own_without_rights(daemon: Daemon) -> None:
    for name in ("alice", "bob"):
        daemon.drop(name, daemon.halting())
    pids = [daemon.wait_phase(name, "running")["pid"] for name in ("alice", "bob")]
    uids = set()
    for pid in pids:
        status = status_of(pid)
        assert {status[field] for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert len(set(status["Uid"].split())) == 1
        uids.add(int(status["Uid"].split()[0]))
        assert Path(f"/proc/{pid}/net/dev").read_text().count(":") == 1, "nothing but lo"
        for namespace in ("net", "mnt", "ipc"):
            assert os.readlink(f"/proc/{pid}/ns/{namespace}") != os.readlink(f"/proc/self/ns/{namespace}")
        assert os.getsid(pid) == pid
    assert len(uids) == 2
    assert 0 not in uids
    assert {view_of(daemon, name)["uid"] for name in ("alice", "bob")} == uids


def test_its_directory_is_closed_to_other_users(daemon: Daemon) -> None:
    daemon.drop("closed", daemon.halting())
    daemon.wait_phase("closed", "running")
    place = daemon.run_dir / "vms" / "closed"
    assert place.stat().st_mode & 0o077 == 0
    sockets = sorted(path.name for path in place.glob("*.sock"))
    assert sockets == ["console.sock", "qmp.sock", "telemetry.sock"]
    order(daemon, "stop", "closed", "--force")
    assert not place.exists()


def logged(daemon: Daemon, name: str) -> int:
    """The bytes that a VM's logs take."""
    return sum(path.stat().st_size for path in (daemon.run_dir / "vms" / name / "log").iterdir())


def test_a_flood_on_the_serial_port_stays_within_its_bytes_with_and_without_a_daemon(daemon: Daemon) -> None:
    rom = rom_of(daemon, "chatterer", CHATTERER)
    daemon.drop("chatty", vm_text(rom, more='[console]\nlog_size = "64KiB"'))
    view = daemon.wait_phase("chatty", "running")
    log = Path(view["serial_log"])
    daemon.kill()
    until(lambda: log.stat().st_size > LOG_BYTES // 4, "the guest floods with no daemon there")
    daemon.start()
    wait_view(daemon, "chatty", lambda now: now["adopted"] and now["phase"] == "running", "it runs on")
    until(lambda: (log.parent / "serial.log.1").exists(), "the daemon sets the older part aside")
    assert logged(daemon, "chatty") <= LOG_BYTES
    assert str(log.parent) in mounts_under(daemon.run_dir), "the bound is the kernel's"
    assert order(daemon, "reset", "chatty")["changed"]
    until(lambda: log.stat().st_size > 0, "the guest's newest words are kept")
    assert logged(daemon, "chatty") <= LOG_BYTES
    order(daemon, "stop", "chatty", "--force")
    assert not mounts_under(daemon.run_dir / "vms" / "chatty")


def test_a_thread_that_somebody_moves_is_put_back_and_named(daemon: Daemon) -> None:
    daemon.drop("pinned", daemon.halting(cpu='vcpus = 2\nplacement = "pinned"\npin = ["0", "1"]'))
    pid = daemon.wait_phase("pinned", "running")["pid"]
    vcpu = next(tid for tid, (name, _) in masks_of(pid).items() if name == "CPU 1/KVM")
    os.sched_setaffinity(vcpu, {0})
    until(lambda: os.sched_getaffinity(vcpu) == {1}, "it is put back")

    def moved() -> list[dict[str, str]]:
        return [event["fields"] for event in events_of(daemon, "pinned") if event["code"] == "vm.thread-moved-back"]

    until(moved, "an event names it")
    assert [(event["thread"], event["tid"], event["from"], event["to"]) for event in moved()] == [
        ("vcpu 1", str(vcpu), "0", "1")
    ]
    view = wait_view(daemon, "pinned", lambda view: {row["verdict"] for row in view["threads"]} == {"ok"}, "all is well")
    assert view["phase"] == "running"
