"""The comparison with Nova judges fairly: its counts on seats written by hand, and qsup's half of a workload."""

from __future__ import annotations

import pytest

from tests.bench.nova_sides import Placed, qsup_outcome, spec_of
from tests.bench.nova_splits import Splits, faults_of, splits_of
from tests.bench.nova_workload import HOSTS, Request, ThreadPolicy, host, host_of_seed, requests_of_seed


def seat(*pins: int, nodes: tuple[int, ...] = (0,), threads: int = 1, policy: ThreadPolicy = "none") -> Placed:
    return Placed(Request("vm", len(pins), threads, policy, len(nodes), 1024, 2048), nodes, pins)


# two-sockets-smt: pCPUs 0-7 and 16-23 are node 0, n and n + 16 are siblings; one L3 a node.
@pytest.mark.parametrize(
    ("placed", "splits"),
    [
        ([seat(1, 17, 2, 18, threads=2)], Splits()),
        ([seat(1, 2, 17, 18, threads=2)], Splits(guest_cores=2)),
        ([seat(1, 2, 3)], Splits(host_cores=3)),
        ([seat(1), seat(17)], Splits(host_cores=1)),
        ([seat(1, 2, policy="isolate")], Splits()),
        ([seat(1, 17, 8, 24, nodes=(0, 1), threads=2)], Splits(cross_node=1, distance=11)),
        ([seat(1, 17, nodes=(1,), threads=2)], Splits(cross_node=1, distance=11)),
    ],
)
def test_splits_are_counted(placed: list[Placed], splits: Splits) -> None:
    assert splits_of(host("two-sockets-smt"), placed) == splits


def test_l3_groups_are_counted_on_each_node() -> None:
    # epyc-nps4: node 0 has the cores 0-7 in two L3 groups of four.
    assert splits_of(host("epyc-nps4"), [seat(0, 64, 4, 68, threads=2)]).l3 == 1
    assert splits_of(host("epyc-nps4"), [seat(0, 64, 8, 72, nodes=(0, 1), threads=2)]).l3 == 0


@pytest.mark.parametrize(
    "placed",
    [
        [seat(1, 1)],
        [seat(1), seat(2, 1)],
        [seat(1, policy="isolate"), seat(17)],
        [seat(99)],
    ],
)
def test_a_pcpu_that_is_given_twice_or_is_not_there_is_a_fault(placed: list[Placed]) -> None:
    assert faults_of(host("two-sockets-smt"), placed)
    assert not faults_of(host("two-sockets-smt"), placed[:-1])


def test_hosts_take_turns_and_a_seed_says_all() -> None:
    assert {host_of_seed(seed) for seed in range(len(HOSTS))} == set(HOSTS)
    assert requests_of_seed(7) == requests_of_seed(7)
    assert requests_of_seed(7) != requests_of_seed(17)


@pytest.mark.parametrize("seed", range(len(HOSTS)))
def test_every_vm_fits_the_empty_host_and_not_all_of_them_fit_together(seed: int) -> None:
    facts, requests = host(host_of_seed(seed)), requests_of_seed(seed)
    assert sum(request.vcpus for request in requests) > len(facts.index.online)
    for request in requests[:20]:
        assert len(qsup_outcome(facts, [request], "auto").placed) == 1, request
        assert request.vcpus % request.nodes == 0
        assert request.memory_mib % (request.nodes * max(1, request.page_kib >> 10)) == 0


@pytest.mark.parametrize("seed", [7, 9])
def test_a_workload_ends_with_a_refusal_and_breaks_no_rule(seed: int) -> None:
    facts, requests = host(host_of_seed(seed)), requests_of_seed(seed)
    placed = qsup_outcome(facts, requests, "auto").placed
    assert 0 < len(placed) < len(requests)
    assert faults_of(facts, placed) == []
    assert all(len(one.nodes) <= one.request.nodes for one in placed)


def test_guest_nodes_are_written_as_nova_makes_them() -> None:
    spec = spec_of(Request("vm", 8, 2, "require", 2, 4096, 2048), "written")
    assert spec.memory.nodes is not None
    assert [(sorted(node.vcpus), node.size_bytes >> 20) for node in spec.memory.nodes] == [
        ([0, 1, 2, 3], 2048),
        ([4, 5, 6, 7], 2048),
    ]
    assert spec_of(Request("vm", 8, 2, "require", 2, 4096, 2048), "auto").memory.nodes is None
