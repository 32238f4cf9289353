"""The two planners on one workload, each until the first VM that it refuses."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from attrs import frozen

from qsup.bytesize import MIB
from qsup.errors import Refused
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan
from qsup.spec.cpu import CpuSpec, Placement, Smt
from qsup.spec.memory import GuestNodeSpec, MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.bench.nova_workload import Request
from tests.plan.asking import ALIASES

CHILD = Path(__file__).with_name("nova_child.py")
# Nothing is set aside on either side.
POLICY = HostPolicy(housekeeping=frozenset(), reserved_memory_bytes=0, grow_hugepages=False)

Manner = Literal["auto", "written"]


@frozen
class Placed:
    """One VM in its seat: the host nodes of its memory and the pCPU of each vCPU."""

    request: Request
    nodes: tuple[int, ...]
    pins: tuple[int, ...]


@frozen
class Outcome:
    """The VMs before the first refusal, and the CPU time that planning took."""

    placed: tuple[Placed, ...]
    ns: int


class NovaSide:
    """Nova in a process of its own, asked in JSON."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-W", "ignore", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> NovaSide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.communicate()

    def outcome(self, facts: HostFacts, requests: Sequence[Request], *, pack: bool) -> Outcome:
        """Place the VMs. `pack`: fill host nodes one after another, which is not Nova's default."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        work = {"pack": pack, "cells": _cells(facts), "requests": [_request(request) for request in requests]}
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        pairs = zip(requests, answer["placed"], strict=False)
        placed = tuple(Placed(request, tuple(seat["nodes"]), tuple(seat["pins"])) for request, seat in pairs)
        return Outcome(placed, answer["ns"])


def _cells(facts: HostFacts) -> list[dict[str, Any]]:
    index = facts.index
    return [
        {
            "id": node.host_node,
            "pcpus": sorted(index.node_pcpus.get(node.host_node, ())),
            "cores": [index.cores[core] for core in index.node_cores.get(node.host_node, ())],
            "socket": next((pcpu.socket for pcpu in facts.pcpus if pcpu.host_node == node.host_node), None),
            "memory_mib": node.memory_total_bytes // MIB,
            "pages": [
                (facts.page_size_bytes >> 10, node.memory_free_bytes // facts.page_size_bytes),
                *((pool.page_size_bytes >> 10, pool.free) for pool in node.pools),
            ],
        }
        for node in facts.nodes
    ]


def _request(request: Request) -> dict[str, Any]:
    return {
        "vcpus": request.vcpus,
        "nodes": request.nodes,
        "memory_mib": request.memory_mib,
        "page_kib": request.page_kib,
        "thread_policy": None if request.thread_policy == "none" else request.thread_policy,
    }


def qsup_outcome(facts: HostFacts, requests: Sequence[Request], manner: Manner) -> Outcome:
    """Place the VMs.

    A plan with memory on more host nodes than Nova may use, or with a vCPU on another node than its memory, counts as a
    refusal: Nova does neither.
    """
    specs = [spec_of(request, manner) for request in requests]
    ledger = Ledger()
    plans: list[VmPlan] = []
    began_ns = time.process_time_ns()
    for spec, request in zip(specs, requests, strict=True):
        plan = _planned(spec, facts, ledger)
        if plan is None or not _as_strict(plan, request):
            break
        ledger = ledger.reserved(Holding(plan))
        plans.append(plan)
    taken_ns = time.process_time_ns() - began_ns
    return Outcome(tuple(map(_placed, requests, plans)), taken_ns)


def _placed(request: Request, plan: VmPlan) -> Placed:
    nodes = {node for guest in plan.guest_nodes for node in guest.host_nodes}
    return Placed(request, tuple(sorted(nodes)), tuple(pcpu for vcpu in plan.vcpus for pcpu in vcpu.pin))


def _planned(spec: VmSpec, facts: HostFacts, ledger: Ledger) -> VmPlan | None:
    try:
        return place(spec, facts, POLICY, ledger, None, ALIASES)
    except Refused:
        return None


def _as_strict(plan: VmPlan, request: Request) -> bool:
    remote = any(warning.code == "plan.vcpus-remote" for warning in plan.warnings)
    return len({node for guest in plan.guest_nodes for node in guest.host_nodes}) <= request.nodes and not remote


def spec_of(request: Request, manner: Manner) -> VmSpec:
    """The same VM for qsup; with "written" its guest nodes are those of Nova, with "auto" qsup chooses how many."""
    placement: Placement = "isolated" if request.thread_policy == "isolate" else "dedicated"
    smt: Smt | None = "require" if request.thread_policy == "require" else None
    each, size_bytes = request.vcpus // request.nodes, request.memory_mib * MIB
    nodes = tuple(
        GuestNodeSpec(vcpus=frozenset(range(node * each, (node + 1) * each)), size_bytes=size_bytes // request.nodes)
        for node in range(request.nodes)
    )
    return VmSpec(
        name=request.name,
        cpu=CpuSpec(vcpus=request.vcpus, threads=request.threads, placement=placement, smt=smt),
        memory=MemorySpec(
            size_bytes=size_bytes, hugepages_bytes=request.page_kib << 10, nodes=nodes if manner == "written" else None
        ),
    )
