"""What has left its place is found by `qsup verify`, said, and mended: pages on real nodes, and what only newer QEMUs do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .qsup_host import QsupHost, halting

MIB = 1 << 20
GIB = 1 << 30
SIZES = {
    "base": 'size = "64MiB"\nprealloc = true\nhost_nodes = "1"',
    "2MiB": 'size = "64MiB"\nhugepages = "2MiB"\nhost_nodes = "1"',
    "1GiB": 'size = "1GiB"\nhugepages = "1GiB"\nhost_nodes = "1"',
}
DISK = '[[disk]]\npath = "/srv/idle.raw"\naio = "native"\n'


def verify(host: QsupHost, name: str, *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the table of `qsup verify NAME`."""
    done = host.qsup("verify", name, "--json", *words, check=False)
    return done.status, json.loads(done.stdout)


def wait_as_planned(host: QsupHost, name: str) -> dict[str, Any]:
    """Wait until all of a VM is as planned and return its table."""
    host.lab.wait_until(f"{name} is as planned", lambda: verify(host, name)[0] == 0)
    return verify(host, name)[1]


@pytest.mark.parametrize("pages", list(SIZES))
def test_memory_on_the_wrong_node_is_found_and_mended(host: QsupHost, pages: str) -> None:
    size_bytes = GIB if pages == "1GiB" else 64 * MIB
    host.run("a", halting(memory=SIZES[pages]))
    started = host.identity("a")
    (row,) = wait_as_planned(host, "a")["memory"]
    assert (row["local_percent"], row["misplaced_bytes"]) == (100.0, 0)
    host.lab.run("migratepages", str(host.pid("a")), "1", "0")
    assert host.memory_by_node("a") == {0: size_bytes}  # the kernel's word: all of it is on the other node
    status, table = verify(host, "a")
    (row,) = table["memory"]
    assert (status, row["verdict"], row["misplaced_bytes"], row["local_percent"]) == (1, "drift", size_bytes, 0.0)
    assert "node 0" in row["note"]
    status, table = verify(host, "a", "--repair-memory")
    (mended,) = table["repaired"]["backends"]
    assert (status, mended["moved_bytes"], mended["unmoved"]) == (0, size_bytes, [])
    assert host.memory_by_node("a") == {1: size_bytes}
    assert host.identity("a") == started
    assert "vm.memory-moved" in {code for code, _ in host.events("a")}


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_a_disk_that_nobody_uses_is_no_drift(host: QsupHost, release: str) -> None:
    host.lab.sh("truncate -s 16M /srv/idle.raw")
    host.run("a", halting(more=DISK))
    (row,) = wait_as_planned(host, "a")["disks"]
    assert row["verdict"] == "ok"
    host.qsup("hmp", "a", 'qemu-io -d /machine/peripheral/disk0/virtio-backend "write -f 0 4k"')
    (row,) = wait_as_planned(host, "a")["disks"]
    assert row["aio_in_force"] == "native"
