"""Point 6: what a guest has written is there when it comes back from being killed."""

from __future__ import annotations

import pytest

from .qsup_host import QsupHost, linux


@pytest.mark.parametrize("image", ["qcow2", "raw"])
@pytest.mark.parametrize("aio", ["io_uring", "native"])
def test_a_written_word_outlives_the_kill(host: QsupHost, image: str, aio: str) -> None:
    check_word(host, image, aio)


@pytest.mark.lab(release="trixie")
def test_a_written_word_outlives_the_kill_of_a_newer_qemu(host: QsupHost) -> None:
    check_word(host, "qcow2", "io_uring")


def check_word(host: QsupHost, image: str, aio: str) -> None:
    """Let a guest write, kill it, and let the next one read."""
    path = f"/srv/disk.{image}"
    host.lab.run("qemu-img", "create", "-q", "-f", image, path, "16M")
    disk = f'[[disk]]\npath = "{path}"\naio = "{aio}"\niothread = true\nserial = "KESTREL"'
    view = host.run("tux", linux("lab.write=kestrel", more=disk))
    assert [thread["role"] for thread in view["threads"]].count(f"iothread {view['disks'][0]['iothread']}") == 1
    console = host.wait_console("tux", "GUEST-WROTE kestrel")
    assert "GUEST-DISK vda sectors=32768" in console
    assert "serial=KESTREL" in console
    before = host.identity("tux")
    assert ("io_uring" in host.lab.sh(f"ls -l /proc/{before[0]}/fd")) is (aio == "io_uring")
    assert (int(host.lab.read("/proc/sys/fs/aio-nr")) > 0) is (aio == "native")
    host.drop("tux", linux("lab.read", more=disk))
    host.lab.wait_until("the edit is pending", lambda: bool(host.view("tux")["pending"]))
    host.lab.run("kill", "-KILL", str(before[0]))
    host.lab.wait_until("it is back", lambda: bool(host.pids("tux")) and host.identity("tux") != before)
    host.wait_console("tux", "GUEST-READ kestrel")
    view = host.view("tux")
    assert (view["restarts"], view["pending"]) == (1, [])
    assert "9" in view["last_ending"] or "KILL" in view["last_ending"]
