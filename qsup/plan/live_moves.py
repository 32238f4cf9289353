"""live_moves: when pCPUs are free but scattered, the re-pins of running VMs that make room, found by search.

Strategy: memory never moves, so a vCPU moves within its host node only, and only onto pCPUs that are free now: the steps can be
done one after another in any order. On each node the cores that are cheapest to clear (fewest vCPUs on them) are cleared, one
more at a time, until `place` takes the new VM; that planning is the proof. Pinned VMs never move: somebody wrote where
they are. Shared VMs follow their pool anyway. VMs whose guest siblings share a core move by whole guest cores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import evolve, frozen

from qsup.errors import Refused
from qsup.plan.guest_record import GuestRecord
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.ledger import Ledger
from qsup.plan.place import place
from qsup.plan.vmplan import VmPlan
from qsup.plan.whatif import Stage, settled
from qsup.spec.vmspec import VmSpec

_Seat = tuple[str, int]


@frozen
class LiveMove:
    """One vCPU of a running VM goes from one pCPU to another, of the same host node."""

    vm: str
    vcpu_index: int
    from_pcpu: int
    to_pcpu: int


@frozen
class RoomMade:
    """The moves, none of which needs another one first, and the plan of the VM that fits after them."""

    moves: tuple[LiveMove, ...]
    plan: VmPlan


def room_by_moves(spec: VmSpec, stage: Stage, record: GuestRecord | None = None) -> RoomMade | None:
    """The fewest moves found that make room for a VM; None where moving makes none (memory is short, or too few pCPUs).

    Only dedicated and isolated VMs can gain: the others share pCPUs, or say themselves which.
    """
    if spec.cpu.placement not in ("dedicated", "isolated"):
        return None
    found = [made for nodes in _scopes(stage) if (made := _made_on(nodes, spec, stage, record)) is not None]
    return min(found, key=lambda made: len(made.moves), default=None)


def _scopes(stage: Stage) -> list[tuple[int, ...]]:
    """Each node alone, and all together for a VM that is larger than one."""
    nodes = sorted(stage.facts.index.node_cores)
    return [*((node,) for node in nodes), *([tuple(nodes)] if len(nodes) > 1 else [])]


def _made_on(nodes: Collection[int], spec: VmSpec, stage: Stage, record: GuestRecord | None) -> RoomMade | None:
    floor = _Floor(stage, nodes)
    for core in floor.clearable():
        moves = floor.clear(core)
        if moves is None:
            continue
        moved = settled(evolve(stage, ledger=moved_ledger(stage.ledger, floor.moves)))
        try:
            return RoomMade(tuple(floor.moves), place(spec, moved.facts, moved.policy, moved.ledger, record))
        except Refused:
            continue
    return None


class _Floor:
    """The cores of some nodes while they are cleared: who sits where, which pCPUs are free, which cores must stay clear."""

    def __init__(self, stage: Stage, nodes: Collection[int]) -> None:
        self._host = stage.facts.index
        self._plans = {name: holding.plan for name, holding in stage.ledger.holdings.items()}
        self.moves: list[LiveMove] = []
        index = stage.ledger.index
        taken = {*index.exclusive, *index.pinned, *index.emulators, *fixed_housekeeping(self._host, stage.policy)}
        self._seats = _movable_seats(self._plans.values())
        self._fixed = taken - self._seats.keys()
        self._nodes = frozenset(nodes)
        self._free = {pcpu for pcpu in self._host.pcpus_of(nodes) if pcpu not in taken}

    def clearable(self) -> list[int]:
        """The cores that somebody sits on and nobody is fixed to, the cheapest first."""
        cores = [core for node in sorted(self._nodes) for core in self._host.node_cores[node]]
        costs = {core: sum(pcpu in self._seats for pcpu in self._host.cores[core]) for core in cores}
        good = [core for core in cores if costs[core] and not self._fixed.intersection(self._host.cores[core])]
        return sorted(good, key=lambda core: (costs[core], -len(self._host.cores[core]), core))

    def clear(self, core: int) -> list[LiveMove] | None:
        """Move everybody off a core; None where they find no other seat (or moved onto it before)."""
        members = self._host.cores[core]
        landed = {move.to_pcpu for move in self.moves}
        if landed.intersection(members):
            return None
        free = self._free - set(members)
        moves: list[LiveMove] = []
        for name in sorted({self._seats[pcpu][0] for pcpu in members if pcpu in self._seats}):
            leaving = [pcpu for pcpu in members if pcpu in self._seats and self._seats[pcpu][0] == name]
            targets = self._targets(self._plans[name], len(leaving), self._host.node_of[members[0]], free)
            if targets is None:
                return None
            free -= set(targets)
            moves += [
                LiveMove(name, self._seats[pcpu][1], pcpu, target) for pcpu, target in zip(leaving, targets, strict=True)
            ]
        self._free = free  # the cleared core is for the new VM, not for the next one that is moved
        self.moves += moves
        return moves

    def _targets(self, plan: VmPlan, count: int, node: int, free: Collection[int]) -> list[int] | None:
        """Free pCPUs of the node for vCPUs that leave one core: on one core where they are guest siblings."""
        together = plan.threads > 1 and count > 1
        cores = {core: [pcpu for pcpu in self._host.cores[core] if pcpu in free] for core in self._host.node_cores[node]}
        broken_first = sorted(cores, key=lambda core: (len(cores[core]), core))
        if together:
            return next((cores[core][:count] for core in broken_first if len(cores[core]) >= count), None)
        spots = [pcpu for core in broken_first for pcpu in cores[core]]
        return spots[:count] if len(spots) >= count else None


def _movable_seats(plans: Iterable[VmPlan]) -> Mapping[int, _Seat]:
    """pCPU → the dedicated vCPU on it. Isolated VMs stay: their cores are whole already."""
    return {
        pcpu: (plan.name, vcpu.vcpu_index)
        for plan in plans
        if plan.placement == "dedicated"
        for vcpu in plan.vcpus
        if vcpu.vcpu_index not in plan.floating
        for pcpu in vcpu.pin
    }


def moved_ledger(ledger: Ledger, moves: Iterable[LiveMove]) -> Ledger:
    """The ledger after the moves."""
    for move in moves:
        holding = ledger.holdings[move.vm]
        vcpus = tuple(
            evolve(vcpu, pin=frozenset({move.to_pcpu})) if vcpu.vcpu_index == move.vcpu_index else vcpu
            for vcpu in holding.plan.vcpus
        )
        ledger = ledger.reserved(evolve(holding, plan=evolve(holding.plan, vcpus=vcpus)))
    return ledger
