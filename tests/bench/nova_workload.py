"""What both planners are asked: a recorded host with nothing reserved, and seeded random VMs, each for an empty host."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Literal, TypeVar

from attrs import evolve, frozen

from qsup.bytesize import GIB, MIB
from qsup.plan.host_facts import HostFacts, HostNodeFacts, PoolFacts
from tests.host.recorded import recorded_facts
from tests.host.synthesize import HOSTS_DIR

# malformed.json tells of no memory at all: no VM fits there.
HOSTS = tuple(sorted(path.stem for path in HOSTS_DIR.glob("*.json") if path.stem != "malformed"))
VCPUS: Mapping[int, int] = {1: 10, 2: 20, 3: 5, 4: 25, 6: 5, 8: 15, 12: 5, 16: 10, 24: 3, 32: 2}
POLICIES: Mapping[ThreadPolicy, int] = {"prefer": 60, "require": 15, "isolate": 15, "none": 10}
MEMORY_PER_VCPU_MIB: Mapping[int, int] = {256: 30, 512: 30, 1024: 25, 2048: 15}
PAGE_KIB: Mapping[int, int] = {2048: 75, 1048576: 25}
MOST_ON_ONE_NODE, LEAST_ON_TWO = 16, 8

ThreadPolicy = Literal["prefer", "require", "isolate", "none"]
_T = TypeVar("_T")


@frozen
class Request:
    """One VM, as an operator of Nova writes its flavor.

    `nodes` is `hw:numa_nodes`; `thread_policy` "none" stands for a guest without SMT that says nothing; `threads` is what the
    guest sees.
    """

    name: str
    vcpus: int
    threads: int
    thread_policy: ThreadPolicy
    nodes: int
    memory_mib: int
    page_kib: int


@cache
def host(name: str) -> HostFacts:
    """The recorded host with all its memory free: half of it in 2 MiB pages, a quarter in 1 GiB pages, the rest base pages."""
    facts = recorded_facts(name)
    return evolve(facts, nodes=tuple(map(_refilled, facts.nodes)), may_bind_memory=True, may_change_uid=True, kvm_problem=None)


def _refilled(node: HostNodeFacts) -> HostNodeFacts:
    large = node.memory_total_bytes // 4 // GIB
    small = node.memory_total_bytes // 2 // (2 * MIB)
    return evolve(
        node,
        memory_free_bytes=node.memory_total_bytes - large * GIB - small * 2 * MIB,
        pools=(PoolFacts(2 * MIB, small, small), PoolFacts(GIB, large, large)),
    )


def host_of_seed(seed: int) -> str:
    """The hosts take turns."""
    return HOSTS[seed % len(HOSTS)]


def requests_of_seed(seed: int) -> list[Request]:
    """VMs with, all in all, twice as many vCPUs as the host has pCPUs: somebody is refused."""
    facts = host(host_of_seed(seed))
    dice = random.Random(seed)
    drawn: list[Request] = []
    left = 2 * len(facts.index.online)
    for request in _drawn(dice, facts):
        drawn.append(evolve(request, name=f"vm{len(drawn)}"))
        left -= request.vcpus
        if left < 0:
            break
    return drawn


def _drawn(dice: random.Random, facts: HostFacts) -> Iterator[Request]:
    while True:
        request = _one(dice, facts.index.threads)
        if 2 * request.vcpus <= len(facts.index.online) and _fits_empty(request, facts):
            yield request


def _one(dice: random.Random, host_threads: int) -> Request:
    vcpus = _pick(dice, VCPUS)
    nodes = 2 if vcpus > MOST_ON_ONE_NODE or (vcpus >= LEAST_ON_TWO and dice.random() < 0.5) else 1
    policy = _pick(dice, POLICIES)
    paired = host_threads > 1 and vcpus // nodes % 2 == 0
    page_kib = _pick(dice, PAGE_KIB)
    unit = max(1, page_kib >> 10) * nodes
    memory_mib = -(-vcpus * _pick(dice, MEMORY_PER_VCPU_MIB) // unit) * unit
    if policy in ("prefer", "require") and not paired:
        policy = "none"
    return Request("", vcpus, 2 if policy in ("prefer", "require") else 1, policy, nodes, memory_mib, page_kib)


def _pick(dice: random.Random, weights: Mapping[_T, int]) -> _T:
    return dice.choices(list(weights), list(weights.values()))[0]


def _fits_empty(request: Request, facts: HostFacts) -> bool:
    """Whether enough host nodes have pCPUs and pages for an even part of the VM."""
    each = request.vcpus // request.nodes
    pages = request.memory_mib // request.nodes // max(1, request.page_kib >> 10)
    return sum(_seats(request, facts, node) >= each and _pages(node, request) >= pages for node in facts.nodes) >= request.nodes


def _seats(request: Request, facts: HostFacts, node: HostNodeFacts) -> int:
    cores: Sequence[tuple[int, ...]] = [facts.index.cores[core] for core in facts.index.node_cores.get(node.host_node, ())]
    if request.thread_policy == "require":
        return sum(len(core) // 2 * 2 for core in cores)
    # Nova isolates on the widest cores alone: an efficient core of a hybrid processor is none.
    widest = max(map(len, cores), default=0)
    return sum(len(core) == widest for core in cores) if request.thread_policy == "isolate" else sum(map(len, cores))


def _pages(node: HostNodeFacts, request: Request) -> int:
    return sum(pool.free for pool in node.pools if pool.page_size_bytes == request.page_kib << 10)
