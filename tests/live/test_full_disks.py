"""File systems that are full: under the run directory, the state directory, and under an image while the guest writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import events_of, order, view_of, wait_known, wait_view
from tests.process.conftest import small_tmpfs

pytestmark = [pytest.mark.live, pytest.mark.root]

SMALL_BYTES = 512 << 10
# Boot sector: ds = 0; si = the packet; dl = 0x80; ax = 0x4300; int 0x13 (extended write); hlt; jmp to the hlt
WRITER = bytes.fromhex("31c08ed8be207cb280b80043cd13f4ebfd")
# Source: Phoenix, Enhanced Disk Drive Specification: size 16, 64 sectors, from 0000:7c00, to sector 2048
PACKET = bytes.fromhex("10004000007c0000") + (2048).to_bytes(8, "little")


def fill(directory: Path) -> Path:
    """Take all the room that is left."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with its run and state directories on file systems of their own."""
    with ExitStack() as mounts:
        for name in ("run", "state"):
            mounts.enter_context(small_tmpfs(tmp_path / name, SMALL_BYTES))
        with running_daemon(tmp_path) as daemon:
            yield daemon


def off(text: str) -> str:
    return text.replace("[vm]", "[vm]\nautostart = false", 1)


def test_a_full_run_directory_is_told_and_nothing_half_made_stays(cramped: Daemon) -> None:
    cramped.drop("vm", off(cramped.halting()))
    wait_known(cramped, "vm")
    filler = fill(cramped.run_dir)
    error = order(cramped, "start", "vm", check=1)["error"]
    assert error["code"] == "process.disk-full"
    assert str(cramped.run_dir) in error["message"]
    assert error["hint"]
    until(lambda: not list((cramped.run_dir / "vms").iterdir()), "nothing half-made stays")
    filler.unlink()
    assert order(cramped, "start", "vm")["phase"] == "running"


def test_a_full_state_directory_does_not_keep_a_vm_from_stopping(cramped: Daemon) -> None:
    cramped.drop("vm", cramped.halting())
    cramped.wait_phase("vm", "running")
    filler = fill(cramped.state_dir)
    assert order(cramped, "stop", "vm", "--force")["message"] == "stopped"
    told = [event["message"] for event in events_of(cramped, "vm") if event["code"] == "process.disk-full"]
    assert len(told) == 1
    assert "this daemon only" in told[0]
    filler.unlink()
    assert order(cramped, "start", "vm")["phase"] == "running"


@pytest.fixture
def crowded(open_dir: Path) -> Iterator[Path]:
    """A file system that is full but for the first sector of an image."""
    with small_tmpfs(open_dir / "images", SMALL_BYTES) as directory:
        image = directory / "disk.raw"
        with image.open("wb") as file:
            file.write(WRITER.ljust(0x20, b"\0") + PACKET.ljust(510 - 0x20, b"\0") + b"\x55\xaa")
            file.truncate(4 << 20)
        fill(directory)
        yield image


def test_a_guest_whose_disk_is_full_is_held_until_there_is_room(daemon: Daemon, crowded: Path) -> None:
    text = f'[cpu]\nvcpus = 1\nmodel = "qemu64"\n[memory]\nsize = "64MiB"\n[[disk]]\npath = "{crowded}"\ncache = "writeback"\n'
    daemon.drop("writer", text)
    view = wait_view(daemon, "writer", lambda view: view["phase"] == "io-error", "its write fails")
    assert (view["qemu_status"], view["power"]) == ("io-error", "on")
    (told,) = [event for event in events_of(daemon, "writer") if event["code"] == "vm.io-error"]
    assert told["fields"]["node_name"] == "disk0.0"
    assert told["fields"]["operation"] == "write"
    assert "io-error" in daemon.cli("list").stdout
    resumed = json.loads(daemon.cli("resume", "writer", "--json", check=None).stdout)[0]
    # Whether the guest ran for a moment in between is nobody's choice.
    assert resumed.get("phase") == "running" or resumed["error"]["code"] == "supervisor.io-error-again"
    wait_view(daemon, "writer", lambda view: view["phase"] == "io-error", "there is no room still")
    (crowded.parent / "filler").unlink()
    order(daemon, "resume", "writer")
    until(lambda: crowded.read_bytes()[2048 * 512 :].startswith(WRITER), "the same write is done now, by itself")
    assert (view_of(daemon, "writer")["phase"], view_of(daemon, "writer")["pid"]) == ("running", view["pid"])
    assert order(daemon, "stop", "writer", "--force")["phase"] == "absent"
