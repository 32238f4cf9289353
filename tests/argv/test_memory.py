"""[memory] on the command line."""

from __future__ import annotations

import json

from qsup.argv.build import build
from qsup.bytesize import GIB, MIB
from tests.argv.plans import CAPS, guest_node, huge_node, values_of, vm_plan


def objects(*nodes: object) -> list[dict[str, object]]:
    argv = build(vm_plan(guest_nodes=nodes), CAPS)
    found = [json.loads(value) for value in values_of(argv, "-object")]
    return [properties for properties in found if properties["qom-type"] != "rng-builtin"]


def test_base_pages_without_a_binding() -> None:
    assert objects(guest_node(size_bytes=GIB)) == [
        {"qom-type": "memory-backend-ram", "id": "mem0", "size": GIB, "share": False, "prealloc": False}
    ]


def test_base_pages_on_host_nodes() -> None:
    (backend,) = objects(guest_node(host_nodes=(1, 0), policy="interleave"))
    assert backend["host-nodes"] == [0, 1]
    assert backend["policy"] == "interleave"


def test_hugepages_are_touched_by_threads_of_their_own() -> None:
    context, backend = objects(huge_node(size_bytes=64 * MIB))
    assert context == {"qom-type": "thread-context", "id": "prealloc0", "cpu-affinity": [0, 1]}
    assert backend == {
        "qom-type": "memory-backend-memfd",
        "id": "mem0",
        "size": 64 * MIB,
        "share": True,
        "hugetlb": True,
        "hugetlbsize": 2 * MIB,
        "host-nodes": [0],
        "policy": "bind",
        "prealloc": True,
        "prealloc-threads": 2,
        "prealloc-context": "prealloc0",
    }


def test_no_more_threads_than_qemu_uses() -> None:
    _, backend = objects(huge_node(prealloc_pcpus=frozenset(range(64))))
    assert backend["prealloc-threads"] == 16


def test_without_prealloc_there_is_no_thread_context() -> None:
    (backend,) = objects(huge_node(prealloc=False))
    assert backend["prealloc"] is False
    assert "prealloc-context" not in backend


def test_one_guest_node_is_the_boards_memory() -> None:
    argv = build(vm_plan(), CAPS)
    assert "memory-backend=mem0" in values_of(argv, "-machine")
    assert values_of(argv, "-numa") == []
    assert values_of(argv, "-m") == ["size=64M"]


def test_guest_nodes_with_their_distances() -> None:
    nodes = (guest_node(0, (0, 1, 2, 5), GIB, distances=(10, 21)), guest_node(1, (3, 4), GIB, distances=(21, 10)))
    argv = build(vm_plan(guest_nodes=nodes), CAPS)
    assert not any("memory-backend=" in value for value in values_of(argv, "-machine"))
    assert values_of(argv, "-m") == ["size=2G"]
    assert values_of(argv, "-numa") == [
        "node,nodeid=0,cpus=0-2,cpus=5,memdev=mem0",
        "node,nodeid=1,cpus=3,cpus=4,memdev=mem1",
        "dist,src=0,dst=1,val=21",
        "dist,src=1,dst=0,val=21",
    ]
