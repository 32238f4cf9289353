"""Point 4: guest memory on the planned nodes and pages, by the kernel's own books."""

from __future__ import annotations

import re

import pytest

from .qsup_host import QsupHost, halting

MIB = 1 << 20
GIB = 1 << 30
SMALL_KIB, LARGE_KIB = 2048, 1048576
TWO_GUEST_NODES = """size = "96MiB"
hugepages = "2MiB"
nodes = [
    { vcpus = "0", size = "32MiB", host_nodes = "1" },
    { vcpus = "1", size = "64MiB", host_nodes = "0" },
]"""
ONE_LARGE_PAGE = 'size = "1GiB"\nhugepages = "1GiB"\nhost_nodes = "1"'
ONCE = 'grace_period_s = 1\nrestart = "never"'
MIXED_PAGES = """size = "1280MiB"
hugepages = "2MiB"
nodes = [
    { vcpus = "0", size = "1GiB", hugepages = "1GiB", host_nodes = "1" },
    { vcpus = "1", size = "256MiB", host_nodes = "1" },
]"""


def free_pages(host: QsupHost, kib: int = SMALL_KIB) -> list[int]:
    """Return the free pages of a size on each node."""
    return [host.pool(node, kib) for node in range(host.lab.shape.nodes)]


def all_pages(host: QsupHost, kib: int = SMALL_KIB) -> list[int]:
    """Return the pages of a size on each node."""
    return [host.pool(node, kib, "nr") for node in range(host.lab.shape.nodes)]


def test_2_mib_pages_come_from_the_planned_node_and_go_back(host: QsupHost) -> None:
    view = host.run("a", halting(memory='size = "64MiB"\nhugepages = "2MiB"\nhost_nodes = "1"'))
    assert (view["host_nodes"], view["page_size_bytes"]) == ([1], 2 * MIB)
    assert host.memory_by_node("a") == {1: 64 * MIB}
    assert free_pages(host) == [64, 32]
    (line,) = host.bound_memory("a")
    assert " bind:1 " in line
    assert "huge" in line.split()
    host.qsup("stop", "a", "--force")
    assert free_pages(host) == [64, 64]


def test_1_gib_pages_come_from_the_planned_node_and_go_back(host: QsupHost) -> None:
    host.run("a", halting(memory='size = "1GiB"\nhugepages = "1GiB"\nhost_nodes = "1"'))
    assert host.memory_by_node("a") == {1: GIB}
    assert free_pages(host, LARGE_KIB) == [1, 0]
    assert "kernelpagesize_kB=1048576" in host.bound_memory("a")[0]
    host.qsup("stop", "a", "--force")
    assert free_pages(host, LARGE_KIB) == [1, 1]


@pytest.mark.parametrize(
    "release",
    [
        pytest.param("bookworm", marks=pytest.mark.smoke),
        pytest.param("trixie", marks=pytest.mark.lab(release="trixie")),
    ],
)
def test_two_guest_nodes_are_bound_to_two_host_nodes(host: QsupHost, release: str) -> None:
    host.run("a", halting('vcpus = 2\nsockets = 2\nplacement = "dedicated"', TWO_GUEST_NODES))
    assert host.memory_by_node("a") == {1: 32 * MIB, 0: 64 * MIB}
    assert sorted(line.split()[1] for line in host.bound_memory("a")) == ["bind:0", "bind:1"]
    assert free_pages(host) == [32, 48]
    first, second = host.vcpu_masks("a")
    assert first in ("4", "5", "6", "7")  # on the host node of its guest node
    assert second in ("2", "3")


REFUSALS = {
    "2MiB": ("96MiB", "64MiB", "plan.hugepages-short"),
    "1GiB": ("1GiB", "1GiB", "plan.hugepages-short"),
    "base": ("800MiB", "800MiB", "plan.memory-short"),
}
"""Page size → what the holder has, what is asked for beside it, the refusal. Each fits alone, and not both."""


@pytest.mark.parametrize("pages", list(REFUSALS))
def test_strict_binding_is_refused_for_as_long_as_another_has_the_pages(host: QsupHost, pages: str) -> None:
    held, asked, code = REFUSALS[pages]
    host.stop_daemon()
    host.lab.write("/etc/qsup/settings.toml", "[place]\ngrow_hugepages = false\n")
    host.start_daemon()
    kind = 'policy = "bind"' if pages == "base" else f'hugepages = "{pages}"'
    host.run("holder", halting(memory=f'size = "{held}"\nhost_nodes = "1"\n{kind}'))
    before = free_pages(host), free_pages(host, LARGE_KIB)
    host.drop("short", halting(memory=f'size = "{asked}"\nhost_nodes = "1"\n{kind}'))
    host.lab.wait_until("it is refused", lambda: bool(host.view("short").get("refusal")))
    (reason,) = host.view("short")["refusal"]
    assert (reason["code"], reason["host_node"]) == (code, 1)
    assert "host node 1" in reason["message"]
    assert "holder" in [name for name, _ in reason["held_by"]]
    said = host.qsup("status", "short", check=False).stdout
    assert f"[{code}]" in said
    assert re.search(r"\bholder\b", said)
    assert not host.pids("short")
    assert (free_pages(host), free_pages(host, LARGE_KIB)) == before
    # the holder is all that stood in its way
    host.qsup("stop", "holder", "--force")
    host.wait_phase("short", "running")
    assert {line.split()[1] for line in host.bound_memory("short")} == {"bind:1"}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_pools_grow_on_their_node_and_shrink_again(host: QsupHost, end: str) -> None:
    memory = 'size = "256MiB"\nhugepages = "2MiB"\nhost_nodes = "1"'
    host.run("a", halting(memory=memory, vm='grace_period_s = 1\nrestart = "never"'))
    assert all_pages(host) == [64, 128]
    assert free_pages(host) == [64, 0]
    assert host.memory_by_node("a") == {1: 256 * MIB}
    assert "host.pool-grown" in {code for code, _ in host.events("a")}
    if end == "stop":
        host.qsup("stop", "a", "--force")
    else:
        host.lab.run("kill", "-KILL", str(host.pid("a")))
    host.wait_phase("a", "absent")
    assert all_pages(host) == [64, 64]
    assert free_pages(host) == [64, 64]


def large_pool(node: int) -> str:
    """Return the file by which the kernel is asked for pages of 1 GiB on a node."""
    return f"/sys/devices/system/node/node{node}/hugepages/hugepages-{LARGE_KIB}kB/nr_hugepages"


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_a_1_gib_page_is_grown_where_the_node_has_a_whole_one(host: QsupHost, release: str) -> None:
    host.lab.sh(f"echo 0 >{large_pool(1)}")  # the kernel gets the page back: the only 1 GiB of this node in one piece
    assert all_pages(host, LARGE_KIB) == [1, 0]
    host.run("a", halting(memory=ONE_LARGE_PAGE, vm=ONCE))
    assert all_pages(host, LARGE_KIB) == [1, 1]
    assert free_pages(host, LARGE_KIB) == [1, 0]
    assert host.memory_by_node("a") == {1: GIB}
    assert [code for code, _ in host.events("a")] == ["host.pool-grown", "vm.started"]
    host.qsup("stop", "a", "--force")
    assert all_pages(host, LARGE_KIB) == [1, 0]


def test_a_1_gib_page_that_the_kernel_cannot_make_refuses_the_vm_and_leaves_nothing(host: QsupHost) -> None:
    memory = ONE_LARGE_PAGE.replace("1GiB", "2GiB", 1)  # the free memory suffices, and is not in one piece
    host.drop("a", halting(memory=memory, vm=ONCE))
    host.lab.wait_until("it is refused", lambda: host.view("a")["trouble_code"] == "host.pool-short")
    host.remove("a")
    host.lab.wait_until("it is forgotten", lambda: "a" not in host.vms())
    assert "host node 1 gave 0 of 1 hugepages of 1GiB" in dict(host.events("a"))["host.pool-short"]
    assert "vm.started" not in dict(host.events("a"))
    assert (all_pages(host, LARGE_KIB), free_pages(host, LARGE_KIB)) == ([1, 1], [1, 1])
    assert host.lab.sh("ls -A /run/qsup/vms").split() == []
    assert not host.pids("a")


def test_base_pages_are_bound_as_well(host: QsupHost) -> None:
    host.run("a", halting(memory='size = "64MiB"\nprealloc = true\nhost_nodes = "1"\npolicy = "bind"'))
    (line,) = host.bound_memory("a")
    assert line.split()[1] == "bind:1"
    assert host.memory_by_node("a") == {1: 64 * MIB}
    assert free_pages(host) == [64, 64]


def test_pages_of_both_sizes_in_one_guest(host: QsupHost) -> None:
    view = host.run("a", halting('vcpus = 2\nsockets = 2\nplacement = "dedicated"', MIXED_PAGES))
    assert (view["page_size_bytes"], view["page_sizes_bytes"]) == (None, [GIB, 2 * MIB])
    assert host.memory_by_node("a") == {1: GIB + 256 * MIB}
    lines = host.bound_memory("a")
    assert sorted(next(word for word in line.split() if word.startswith("kernelpagesize")) for line in lines) == [
        "kernelpagesize_kB=1048576",
        "kernelpagesize_kB=2048",
    ]
    assert (free_pages(host), free_pages(host, LARGE_KIB)) == ([64, 0], [1, 0])
    assert (all_pages(host), all_pages(host, LARGE_KIB)) == ([64, 128], [1, 1])  # the pool that was short alone has grown
    host.qsup("stop", "a", "--force")
    assert (all_pages(host), all_pages(host, LARGE_KIB)) == ([64, 64], [1, 1])
    assert (free_pages(host), free_pages(host, LARGE_KIB)) == ([64, 64], [1, 1])
