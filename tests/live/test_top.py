"""qsup top on a terminal, with a real daemon and three VMs: rows, threads, and a daemon that is killed meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.top.terminal import on_terminal
from tests.live.harness import Daemon, running_daemon, until
from tests.live.test_life import off

pytestmark = [pytest.mark.live, pytest.mark.root]

WRITE = 'qemu-io -d /machine/peripheral/disk0/virtio-backend "aio_write 0 4k"'


def drop_three(daemon: Daemon) -> None:
    image = daemon.root / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", str(image), "1M"], check=True)
    image.chmod(0o666)
    daemon.drop("web1", daemon.halting(f'[[disk]]\npath = "{image}"', cpu='vcpus = 2\nplacement = "pinned"\npin = ["0", "1"]'))
    daemon.drop("db1", daemon.halting())
    daemon.drop("off1", off(daemon.halting()))
    for name in ("web1", "db1"):
        daemon.wait_phase(name, "running")
    until(lambda: len(daemon.vms()) == 3, "all three are known")


def test_three_vms_on_a_terminal(open_dir: Path) -> None:
    with running_daemon(open_dir) as daemon:
        drop_three(daemon)
        words = [sys.executable, "-m", "qsup.cli", "top", "--run-dir", str(daemon.run_dir)]
        with on_terminal(words) as terminal:
            terminal.until("3 VMs: 2 running, 1 absent")
            for name in ("web1", "db1", "off1"):
                terminal.until(name)
            terminal.press("/web1\r")
            terminal.until("with 'web1': 1")
            terminal.press("\r")
            terminal.until("threads of web1")
            terminal.until("vCPU 1")
            terminal.until("kvm-pit")
            daemon.kill()
            terminal.until("trying again")
            terminal.forget()
            daemon.start()
            terminal.press("\x1b")
            terminal.until("[1 VMs]")
            terminal.until("3 VMs: 2 running, 1 absent")
            terminal.press("q")
            assert terminal.until_ended() == 0


def test_one_snapshot_has_what_qemu_tells(open_dir: Path) -> None:
    with running_daemon(open_dir) as daemon:
        drop_three(daemon)
        frame = json.loads(daemon.cli("top", "--json").stdout)
        vms = {vm["name"]: vm for vm in frame["vms"]}
        assert (frame["settled"], sorted(vms), vms["off1"]["qemu"]) == (True, ["db1", "off1", "web1"], None)
        assert {"exits", "halt_exits", "io_exits"} <= vms["web1"]["qemu"]["exits"].keys(), "this kernel counts them"
        assert [disk["disk"] for disk in vms["web1"]["qemu"]["disks"]] == ["disk0"]
        written = None
        for event in daemon.client.follow("/v1/top/stream?vm=web1"):
            written = disk_of(event.data).get("written_bytes")
            if written:
                break
            daemon.cli("hmp", "web1", WRITE)
        assert written is not None
        assert written > 1000, "4 KiB within a second or three"
        threads = json.loads(daemon.cli("top", "web1", "--json").stdout)["threads"]
        assert [thread["role"] for thread in threads][:2] == ["vcpu 0", "vcpu 1"]
        assert {thread["verdict"] for thread in threads} == {"ok"}


def disk_of(frame: dict[str, Any]) -> dict[str, Any]:
    """The first disk of the first VM, empty where it is not known."""
    told = frame["vms"][0]["qemu"] or {"disks": []}
    return next(iter(told["disks"]), {})
