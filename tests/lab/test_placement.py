"""What was planned is what the kernel did: `qsup plan` beside threads, pages and pools of a host with real nodes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from .qsup_host import VMS_DIR, QsupHost, halting

GIB = 1 << 30
SMALL_KIB, LARGE_KIB = 2048, 1048576
CORE = 'vcpus = 2\nthreads = 2\nplacement = "dedicated"'
NODE_1_POOL = "4-7"


def huge(size: str, page: str, node: int) -> str:
    """Return a memory section on one host node."""
    return f'size = "{size}"\nhugepages = "{page}"\nhost_nodes = "{node}"'


def dropped() -> dict[str, str]:
    """Return files of every class of vCPU and page, on one node and over two."""
    parts = ", ".join(f'{{ vcpus = "{vcpu}", size = "32MiB" }}' for vcpu in (0, 1))
    across = f'size = "64MiB"\nhugepages = "2MiB"\nnodes = [{parts}]'
    return {
        "floats0": halting("vcpus = 2", huge("32MiB", "2MiB", 0)),
        "floats1": halting("vcpus = 2", huge("1GiB", "1GiB", 1)),
        "base": halting(memory='size = "32MiB"\nprealloc = true\nhost_nodes = "1"'),
        "across": halting("vcpus = 2\nsockets = 2", across),
        "fixed": halting('vcpus = 1\nplacement = "pinned"\npin = ["2"]', huge("32MiB", "2MiB", 0)),
        "owner": halting(CORE, huge("32MiB", "2MiB", 1)),
    }


def plan_of(host: QsupHost, *words: str) -> dict[str, dict[str, Any]]:
    """Return what `qsup plan` says of each VM, by name."""
    document = json.loads(host.qsup("plan", "--json", *words).stdout)
    assert document["refused"] == []
    return {vm["name"]: vm for vm in document["vms"]}


def pcpus_in(cpulist: str) -> frozenset[int]:
    """Return the pCPUs of a list as the kernel or qsup writes it."""
    bounds = [part.split("-") for part in cpulist.split(",")]
    return frozenset(pcpu for first, *last in bounds for pcpu in range(int(first), int((last or [first])[0]) + 1))


def masks_of(host: QsupHost, name: str) -> list[frozenset[int]]:
    """Return the masks of a VM's vCPU threads as the kernel tells them, position = vCPU."""
    return [pcpus_in(mask) for mask in host.vcpu_masks(name)]


def planned_masks(vm: dict[str, Any]) -> list[frozenset[int]]:
    """Return the pins of a planned VM, position = vCPU."""
    return [pcpus_in(vcpu["pin"]) for vcpu in vm["vcpus"]]


def planned_bytes(vm: dict[str, Any]) -> dict[int, int]:
    """Return the bytes planned on each host node, where each guest node has one."""
    planned: dict[int, int] = {}
    for guest_node in vm["guest_nodes"]:
        (node,) = guest_node["host_nodes"]
        planned[node] = planned.get(node, 0) + guest_node["size_bytes"]
    return planned


def free_pages(host: QsupHost, kib: int) -> list[int]:
    """Return the free pages of a size on each node."""
    return [host.pool(node, kib) for node in range(host.lab.shape.nodes)]


def pages_of(vms: Iterable[dict[str, Any]], kib: int) -> list[int]:
    """Return the pages of a size that are planned on each node."""
    nodes = [guest_node for vm in vms for guest_node in vm["guest_nodes"] if guest_node["page_size_bytes"] == kib << 10]
    return [sum(node["size_bytes"] // (kib << 10) for node in nodes if node["host_nodes"] == [number]) for number in (0, 1)]


def test_what_was_planned_is_what_the_kernel_did(host: QsupHost) -> None:
    host.stop_daemon()
    for name, text in dropped().items():
        host.drop(name, text)
    planned = plan_of(host, "--config-dir", VMS_DIR)
    assert set(planned) == set(dropped())
    before = {kib: free_pages(host, kib) for kib in (SMALL_KIB, LARGE_KIB)}
    host.start_daemon()
    host.wait_phases(dict.fromkeys(planned, "running"))
    for name, vm in planned.items():
        assert masks_of(host, name) == planned_masks(vm), name
        assert host.memory_by_node(name) == planned_bytes(vm), name
        assert pcpus_in(host.threads(name)[host.pid(name)].mask) == pcpus_in(vm["emulator"]), name
    for kib, free in before.items():
        taken = pages_of(planned.values(), kib)
        assert free_pages(host, kib) == [free[node] - taken[node] for node in (0, 1)]
    assert planned_bytes(planned["floats1"]) == {1: GIB}
    assert sorted(planned_bytes(planned["across"])) == [0, 1]
    assert {vm["action"] for vm in plan_of(host).values()} == {"stays"}
    host.lab.wait_until("all pages are counted and where planned", lambda: host.qsup("verify", check=False).status == 0)


def test_the_shared_pool_shrinks_and_grows_under_running_guests(host: QsupHost) -> None:
    host.run("floats", halting("vcpus = 2", huge("32MiB", "2MiB", 1)))
    started = host.identity("floats")
    assert host.vcpu_masks("floats") == [NODE_1_POOL, NODE_1_POOL]
    owner = halting(CORE, huge("32MiB", "2MiB", 1))
    foreseen = plan_with(host, "owner", owner)
    host.run("owner", owner)
    owned = host.vcpu_masks("owner")
    assert owned in (["4", "5"], ["6", "7"])
    rest = "6-7" if owned == ["4", "5"] else "4-5"
    assert host.vcpu_masks("floats") == [rest, rest]
    assert masks_of(host, "floats") == planned_masks(foreseen["floats"])
    assert masks_of(host, "owner") == planned_masks(foreseen["owner"])
    # the node's other core is the last of its pool: it is not taken from under a guest that floats there
    host.drop("second", owner)
    host.lab.wait_until("it is refused", lambda: bool(host.view("second").get("refusal")))
    assert "shared pool" in host.qsup("status", "second", check=False).stdout
    assert host.vcpu_masks("floats") == [rest, rest]
    host.remove("second")
    host.lab.wait_until("it is forgotten, and not tried again", lambda: "second" not in host.vms())
    host.qsup("stop", "owner", "--force")
    host.lab.wait_until("the pool has grown", lambda: host.vcpu_masks("floats") == [NODE_1_POOL, NODE_1_POOL])
    assert host.identity("floats") == started
    assert {thread["verdict"] for thread in host.view("floats")["threads"]} == {"ok"}
    assert host.memory_by_node("floats") == {1: 32 << 20}
    assert [code for code, _ in host.events("floats")].count("vm.repinned") == 2
    assert "vm.thread-moved-back" not in {code for code, _ in host.events("floats")}


def plan_with(host: QsupHost, name: str, text: str) -> dict[str, dict[str, Any]]:
    """Return what would happen with one more file."""
    path = f"/srv/{name}.toml"
    host.lab.write(path, text)
    return plan_of(host, "--with", path)


@pytest.mark.lab(shape="four_nodes")
def test_a_vm_larger_than_a_node_gets_nearest_nodes_and_their_distances(host: QsupHost) -> None:
    host.stop_daemon()
    memory = 'size = "2GiB"\nhugepages = "1GiB"'
    host.drop("wide", halting('vcpus = 4\nthreads = 2\nplacement = "dedicated"', memory))
    planned = plan_of(host, "--config-dir", VMS_DIR)["wide"]
    host.start_daemon()
    host.wait_phase("wide", "running")
    nodes = sorted(planned_bytes(planned))
    assert host.lab.shape.distance(*nodes) == host.lab.shape.near_distance
    assert host.memory_by_node("wide") == planned_bytes(planned) == dict.fromkeys(nodes, GIB)
    assert masks_of(host, "wide") == planned_masks(planned)
    words = host.lab.read(f"/proc/{host.pid('wide')}/cmdline")
    assert f"dist,src=0,dst=1,val={host.lab.shape.near_distance}" in words
