"""live_moves: when pCPUs are free but scattered, the re-pins of running VMs that make room, found by search.

Strategy: memory never moves, so a vCPU moves within its host node only, and only onto pCPUs that are free now: the steps can be
done one after another in any order. On each node the cores that are cheapest to clear (fewest vCPUs on them) are cleared, by
moves onto cores that are broken anyway. A core more that is clear never makes less room, so the fewest that do are found by
halving; that planning is the proof. Where all of them together do not help, nothing else is tried. Pinned VMs never
move: somebody wrote where they are. Shared VMs follow their pool anyway. VMs whose guest siblings share a core move by whole
guest cores.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from qsup.plan.case import Case, Notes
from qsup.plan.guest_record import GuestRecord
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.ledger import Ledger
from qsup.plan.place import planned
from qsup.plan.vmplan import VmPlan
from qsup.plan.whatif import Stage
from qsup.spec.vmspec import VmSpec

_Seat = tuple[str, int]


@frozen
class LiveMove:
    """One vCPU of a running VM goes from one pCPU to another, of the same host node."""

    vm: str
    vcpu_index: int
    from_pcpu: int
    to_pcpu: int


_Clearing = tuple[LiveMove, ...]  # the moves that clear one core


@frozen
class RoomMade:
    """The moves, none of which needs another one first, and the plan of the VM that fits after them."""

    moves: tuple[LiveMove, ...]
    plan: VmPlan


def room_by_moves(spec: VmSpec, stage: Stage, record: GuestRecord | None = None) -> RoomMade | None:
    """The moves found after which a VM sits on the fewest host nodes, of these the fewest.

    None where moving makes no room (memory is short, or too few pCPUs). Only dedicated and isolated VMs can gain: the others
    share pCPUs, or say themselves which.
    """
    if spec.cpu.placement not in ("dedicated", "isolated"):
        return None
    nodes = sorted(stage.facts.index.node_cores)
    question = _Question(spec, stage, record)
    everywhere = _Floor(stage, nodes).clearings()
    if question.answer(everywhere) is None:
        return None
    alone = [(question.on(node), _Floor(stage, (node,)).clearings()) for node in nodes if _may_sit_on(spec, node)]
    enough = [least for asked, clearings in (*alone, (question, everywhere)) if (least := asked.least(clearings)) is not None]
    found = [made for least in enough if (made := question.answer(least)) is not None]
    return min(found, key=lambda made: (_node_count(made.plan), len(made.moves)), default=None)


def _may_sit_on(spec: VmSpec, node: int) -> bool:
    """Whether the file leaves it open that the VM sits on this node alone."""
    asked = spec.memory.host_nodes
    return spec.memory.nodes is None and (asked is None or node in asked)


def _node_count(plan: VmPlan) -> int:
    return len({node for guest in plan.guest_nodes for node in guest.host_nodes})


@frozen
class _Question:
    """Whether the VM fits after some cores are cleared."""

    spec: VmSpec
    stage: Stage
    record: GuestRecord | None

    def answer(self, clearings: Sequence[_Clearing]) -> RoomMade | None:
        """The plan of the VM after all of these."""
        moves = tuple(move for clearing in clearings for move in clearing)
        facts, policy, ledger = self.stage.facts, self.stage.policy, moved_ledger(self.stage.ledger, moves)
        plan = planned(Case(self.spec, facts, policy, ledger, self.record, {}, Notes(brief=True)))
        return None if plan is None else RoomMade(moves, plan)

    def on(self, node: int) -> _Question:
        """The same for the VM on this host node alone."""
        memory = evolve(self.spec.memory, host_nodes=frozenset({node}))
        return evolve(self, spec=evolve(self.spec, memory=memory))

    def least(self, clearings: Sequence[_Clearing]) -> Sequence[_Clearing] | None:
        """As few of them, from the first on, as will do; None where all will not."""
        if self.answer(clearings) is None:
            return None
        counts = range(1, len(clearings))
        return clearings[: 1 + bisect_left(counts, True, key=lambda count: self.answer(clearings[:count]) is not None)]


class _Floor:
    """The cores of some nodes while they are cleared: who sits where, which pCPUs are free, which cores must stay clear."""

    def __init__(self, stage: Stage, nodes: Collection[int]) -> None:
        self._host = stage.facts.index
        self._plans = {name: holding.plan for name, holding in stage.ledger.holdings.items()}
        self._landed: set[int] = set()
        index = stage.ledger.index
        taken = {*index.exclusive, *index.pinned, *index.emulators, *fixed_housekeeping(self._host, stage.policy)}
        self._seats = _movable_seats(self._plans.values())
        self._fixed = taken - self._seats.keys()
        self._nodes = frozenset(nodes)
        self._free = {pcpu for pcpu in self._host.pcpus_of(nodes) if pcpu not in taken}

    def _clearable(self) -> list[int]:
        """The cores that somebody sits on and nobody is fixed to, the cheapest first."""
        cores = [core for node in sorted(self._nodes) for core in self._host.node_cores[node]]
        costs = {core: sum(pcpu in self._seats for pcpu in self._host.cores[core]) for core in cores}
        good = [core for core in cores if costs[core] and not self._fixed.intersection(self._host.cores[core])]
        return sorted(good, key=lambda core: (costs[core], -len(self._host.cores[core]), core))

    def clearings(self) -> list[_Clearing]:
        """For each core that can be cleared after those before it, the moves that do it; the cheapest first."""
        return [moves for core in self._clearable() if (moves := self._clear(core)) is not None]

    def _clear(self, core: int) -> _Clearing | None:
        """Move everybody off a core; None where they find no other seat (or somebody moved onto it before)."""
        members = self._host.cores[core]
        if not self._landed.isdisjoint(members):
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
        self._landed |= {move.to_pcpu for move in moves}
        return tuple(moves)

    def _targets(self, plan: VmPlan, count: int, node: int, free: Collection[int]) -> list[int] | None:
        """Free pCPUs of broken cores for vCPUs that leave one core: on one core where they are guest siblings."""
        together = plan.threads > 1 and count > 1
        members = self._host.cores
        cores = {core: [pcpu for pcpu in members[core] if pcpu in free] for core in self._host.node_cores[node]}
        broken = [core for core, left in cores.items() if len(left) < len(members[core])]
        broken.sort(key=lambda core: (len(cores[core]), core))
        if together:
            return next((cores[core][:count] for core in broken if len(cores[core]) >= count), None)
        spots = [pcpu for core in broken for pcpu in cores[core]]
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
    targets: dict[str, dict[int, frozenset[int]]] = {}
    for move in moves:
        targets.setdefault(move.vm, {})[move.vcpu_index] = frozenset({move.to_pcpu})
    for name, pins in targets.items():
        holding = ledger.holdings[name]
        vcpus = tuple(
            evolve(vcpu, pin=pins[vcpu.vcpu_index]) if vcpu.vcpu_index in pins else vcpu for vcpu in holding.plan.vcpus
        )
        ledger = ledger.reserved(evolve(holding, plan=evolve(holding.plan, vcpus=vcpus)))
    return ledger
