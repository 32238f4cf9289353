"""Point 4: guest memory on the planned nodes and pages, by the kernel's own books."""

from __future__ import annotations

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


@pytest.mark.smoke
def test_two_guest_nodes_are_bound_to_two_host_nodes(host: QsupHost) -> None:
    host.run("a", halting('vcpus = 2\nsockets = 2\nplacement = "dedicated"', TWO_GUEST_NODES))
    assert host.memory_by_node("a") == {1: 32 * MIB, 0: 64 * MIB}
    assert sorted(line.split()[1] for line in host.bound_memory("a")) == ["bind:0", "bind:1"]
    assert free_pages(host) == [32, 48]
    first, second = host.vcpu_masks("a")
    assert first in ("4", "5", "6", "7")  # on the host node of its guest node
    assert second in ("2", "3")


def test_strict_binding_is_refused_and_explained(host: QsupHost) -> None:
    host.run("holder", halting(memory='size = "1GiB"\nhugepages = "1GiB"\nhost_nodes = "1"'))
    short = 'size = "3GiB"\nhugepages = "1GiB"\nhost_nodes = "1"'
    host.drop("short", halting(memory=short))
    host.lab.wait_until("it is refused", lambda: bool(host.view("short").get("refusal")))
    reasons = host.view("short")["refusal"]
    assert all(reason["code"].startswith("plan.") for reason in reasons)
    said = host.qsup("status", "short", check=False).stdout
    assert "node 1" in said
    assert "holder" in said  # who has the rest
    assert not host.pids("short")
    assert all_pages(host, LARGE_KIB) == [1, 1]  # nothing was grown for what cannot run
    host.drop("short", halting(memory=short.replace("3GiB", "1GiB").replace('"1"', '"0"', 1)))
    host.wait_phase("short", "running")
    assert host.memory_by_node("short") == {0: GIB}


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
