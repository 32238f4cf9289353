"""Pages, taps and images of a VM: taken as planned, given back exactly, whatever way the VM ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qsup.host.links import delete_bridge
from tests.hugepages import pool_turn
from tests.live.evidence import leftovers, links, pool_pages, ports_of
from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import codes_of, order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

MIXED = """size = "64MiB"
prealloc = true
nodes = [
    { vcpus = "0", size = "32MiB", hugepages = "2MiB" },
    { vcpus = "1", size = "32MiB" },
]"""
HUGE = 'size = "32MiB"\nhugepages = "2MiB"'


def off(text: str, rules: str = "") -> str:
    """The same VM, not started by itself."""
    return text.replace("[vm]", f"[vm]\nautostart = false\n{rules}", 1)


@pytest.fixture
def pool() -> Iterator[tuple[int, int]]:
    """The pool as it was, while nobody else's test changes it; it must be so again in the end."""
    with pool_turn():
        before = pool_pages()
        yield before
        assert pool_pages() == before


@pytest.fixture
def short_of_pages(pool: tuple[int, int]) -> str:
    """The text of a [memory] that needs 16 pages more than are free."""
    return f'size = "{(pool[1] + 16) * 2}MiB"\nhugepages = "2MiB"\nprealloc = false'


def test_pages_are_added_and_given_back_at_a_stop(daemon: Daemon, pool: tuple[int, int], short_of_pages: str) -> None:
    daemon.drop("grown", off(daemon.halting(memory=short_of_pages)))
    wait_known(daemon, "grown")
    order(daemon, "start", "grown")
    assert pool_pages()[0] == pool[0] + 16
    assert view_of(daemon, "grown")["page_size_bytes"] == 2 << 20
    assert "host.pool-grown" in codes_of(daemon, "grown")
    order(daemon, "stop", "grown")
    assert pool_pages() == pool


def test_preallocated_pages_are_really_taken(daemon: Daemon, pool: tuple[int, int]) -> None:
    daemon.drop("taken", off(daemon.halting(memory=HUGE)))
    wait_known(daemon, "taken")
    order(daemon, "start", "taken")
    total, free = pool_pages()
    assert (total - free) - (pool[0] - pool[1]) == 16
    pid = view_of(daemon, "taken")["pid"]
    assert "kernelpagesize_kB=2048" in Path(f"/proc/{pid}/numa_maps").read_text()
    order(daemon, "stop", "taken", "--force")


def test_hugepages_in_one_guest_node_and_base_pages_in_the_other(daemon: Daemon, pool: tuple[int, int]) -> None:
    daemon.drop("mixed", off(daemon.halting(cpu="vcpus = 2", memory=MIXED)))
    wait_known(daemon, "mixed")
    order(daemon, "start", "mixed")
    total, free = pool_pages()
    assert (total - free) - (pool[0] - pool[1]) == 16, "the first guest node's pages alone"
    view = view_of(daemon, "mixed")
    assert (view["page_size_bytes"], view["page_sizes_bytes"]) == (None, [2 << 20, 4096])
    assert " on 2MiB and 4KiB pages" in daemon.cli("status", "mixed").stdout
    rows = memory_rows_of(daemon, "mixed")
    assert [row["page_size_in_force_bytes"] for row in rows] == [2 << 20, 4096]
    assert [(row["verdict"], row["present_bytes"]) for row in rows] == [("ok", 32 << 20)] * 2
    order(daemon, "stop", "mixed", "--force")
    assert pool_pages() == pool


def memory_rows_of(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """The backends of a VM, as the kernel counts their pages."""
    done = daemon.cli("verify", name, "--json", check=None)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["memory"]
    return rows


def test_pages_are_given_back_when_qemu_is_killed(daemon: Daemon, pool: tuple[int, int], short_of_pages: str) -> None:
    daemon.drop("shot", off(daemon.halting(memory=short_of_pages), 'restart = "never"'))
    wait_known(daemon, "shot")
    order(daemon, "start", "shot")
    os.kill(view_of(daemon, "shot")["pid"], signal.SIGKILL)
    wait_view(daemon, "shot", lambda view: view["phase"] == "absent", "its end is cleared away")
    assert pool_pages() == pool


def test_pages_are_given_back_when_the_start_fails(daemon: Daemon, pool: tuple[int, int], short_of_pages: str) -> None:
    text = daemon.halting(memory=short_of_pages).replace('"qemu64"', '"qemu64,no-such-feature=on"')
    daemon.drop("failing", off(text, 'restart = "never"'))
    wait_known(daemon, "failing")
    assert order(daemon, "start", "failing", check=1)["error"]["code"] == "vm.start-failed"
    assert "host.pool-grown" in codes_of(daemon, "failing")
    wait_view(daemon, "failing", lambda view: view["phase"] == "absent", "it is cleared away")
    assert pool_pages() == pool


def test_more_pages_than_the_host_has_are_refused_and_none_is_added(daemon: Daemon, pool: tuple[int, int]) -> None:
    daemon.drop("greedy", off(daemon.halting(memory='size = "16TiB"\nhugepages = "2MiB"')))
    wait_known(daemon, "greedy")
    error = order(daemon, "start", "greedy", check=69)["error"]
    assert error["reasons"][0]["needed"]
    assert pool_pages() == pool


@pytest.fixture
def bridged(tmp_path: Path) -> Iterator[tuple[Daemon, str]]:
    """A daemon that creates bridges, and a name for one, gone after the test."""
    name = f"qs{os.getpid() % 100000}res"
    with running_daemon(tmp_path, "[network]\ncreate_bridges = true\n") as running:
        yield running, name
    delete_bridge(name)
    assert leftovers(running) == []


def test_a_tap_is_a_port_while_qemu_lives_and_no_longer(bridged: tuple[Daemon, str]) -> None:
    daemon, bridge = bridged
    before = links()
    nic = f'[[nic]]\nbridge = "{bridge}"\n'
    daemon.drop("net", daemon.halting(f'{nic}mac = "52:54:00:12:34:56"\nmtu = 1400\n{nic}tap = "{bridge}t"\n'))
    view = daemon.wait_phase("net", "running")
    first, second = view["nics"]
    assert (first["mac"], first["mtu"], first["vhost"]) == ("52:54:00:12:34:56", 1400, os.path.exists("/dev/vhost-net"))
    assert second["tap"] == f"{bridge}t"
    assert ports_of(bridge) == {first["tap"], second["tap"]}
    assert Path(f"/sys/class/net/{first['tap']}/mtu").read_text() == "1400\n"
    os.kill(view["pid"], signal.SIGKILL)
    again = wait_view(daemon, "net", lambda now: now["phase"] == "running" and now["pid"] != view["pid"], "started again")
    assert again["nics"] == view["nics"], "the same names and addresses"
    assert ports_of(bridge) == {first["tap"], second["tap"]}
    daemon.kill()
    os.kill(again["pid"], signal.SIGKILL)
    until(lambda: links() <= before | {bridge}, "the kernel removed the taps with no daemon there")
    daemon.start()


def test_an_image_has_one_writer(daemon: Daemon) -> None:
    image = daemon.root / "disk.raw"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    disk = f'[[disk]]\npath = "{image}"\n'
    daemon.drop("writer", daemon.halting(disk))
    view = daemon.wait_phase("writer", "running")
    assert [entry["path"] for entry in view["disks"]] == [str(image)]
    assert any(row["role"].startswith("iothread") for row in view["threads"])
    daemon.drop("rival", off(daemon.halting(disk)))
    wait_known(daemon, "rival")
    error = order(daemon, "start", "rival", check=69)["error"]
    assert str(image) in error["message"]
    assert "writer" in str(error["reasons"])
    order(daemon, "stop", "rival")
    daemon.drop("reader", off(daemon.halting(f"{disk}readonly = true\n")))
    wait_known(daemon, "reader")
    assert order(daemon, "start", "reader", check=69)["error"]["kind"] == "refused"
    order(daemon, "stop", "writer", "--force")
    assert order(daemon, "start", "reader")["phase"] == "running"
    daemon.drop("rival", off(daemon.halting(f"{disk}readonly = true\n")))
    wait_view(daemon, "rival", lambda now: now["config_state"] == "valid", "the new version is in force")
    assert order(daemon, "start", "rival")["phase"] == "running", "any number may read"


def test_an_image_that_a_stranger_writes_is_refused(daemon: Daemon) -> None:
    image = daemon.root / "foreign.raw"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    words = ["qemu-io", "-f", "raw", str(image)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdin is not None
        assert stranger.stdout is not None
        stranger.stdin.write(b"length\n")
        stranger.stdin.flush()
        stranger.stdout.readline()
        daemon.drop("late", off(daemon.halting(f'[[disk]]\npath = "{image}"\n')))
        wait_known(daemon, "late")
        assert str(image) in order(daemon, "start", "late", check=69)["error"]["message"]
        stranger.stdin.close()
    assert order(daemon, "start", "late")["phase"] == "running"
