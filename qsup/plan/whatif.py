"""whatif: the host as it would be. VMs come, go and move on paper, through the same `place` that the daemon uses.

Strategy: facts tell what is free *now*; who leaves on paper gives back what its process has taken (`without_vms`), who comes
is only promised it, as in the daemon's own ledger. Everything that floats follows once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from attrs import evolve, frozen

from qsup.bytesize import MIB
from qsup.errors import Reason, Refused
from qsup.plan.batch import batch_order
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts, HostNodeFacts
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.plan.vmplan import VmPlan
from qsup.spec.cpu import MOST_VCPUS, OWN_PCPUS, CpuSpec, Placement, Smt
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec

PROBE = "what-if"


@frozen
class Stage:
    """The host at one moment: the machine, the rules, who holds what."""

    facts: HostFacts
    policy: HostPolicy
    ledger: Ledger


@frozen
class Outcome:
    """What became of a batch: the host with those that found room, and every reason for each that did not."""

    stage: Stage
    placed: tuple[str, ...]
    refused: Mapping[str, tuple[Reason, ...]]


@frozen
class Shape:
    """VMs that differ in size alone: each has so much memory per vCPU."""

    placement: Placement
    threads: int
    memory_per_vcpu_bytes: int
    hugepages_bytes: int | None = None
    host_nodes: frozenset[int] | None = None
    smt: Smt | None = None

    def of_cores(self, guest_cores: int) -> VmSpec:
        """The VM of this many guest cores."""
        vcpus = guest_cores * self.threads
        unit = self.hugepages_bytes or 2 * MIB
        size = -(-vcpus * self.memory_per_vcpu_bytes // unit) * unit
        cpu = CpuSpec(vcpus=vcpus, threads=self.threads, placement=self.placement, smt=self.smt)
        memory = MemorySpec(size_bytes=size, hugepages_bytes=self.hugepages_bytes, host_nodes=self.host_nodes)
        return VmSpec(name=PROBE, cpu=cpu, memory=memory)


def shape_of(spec: VmSpec) -> Shape | None:
    """The shape of a VM; None where one size only makes sense: explicit pins, guest nodes, vCPUs of two classes."""
    cpu, memory = spec.cpu, spec.memory
    if cpu.placement == "pinned" or memory.nodes is not None or cpu.shared_vcpus:
        return None
    per_vcpu = memory.size_bytes // cpu.vcpus
    return Shape(cpu.placement, cpu.threads, per_vcpu, memory.hugepages_bytes, memory.host_nodes, cpu.smt)


def plan_batch(specs: Iterable[VmSpec], stage: Stage, records: Mapping[str, GuestRecord] | None = None) -> Outcome:
    """Plan VMs that come together, in the fixed order of a batch; one that is in the ledger already is planned anew.

    Who found no room is asked again at the end, as the daemon does: its reasons then tell of the host with all others on it.
    """
    known = records or {}
    batch = batch_order(specs)
    stage, placed, refused = _one_pass(batch, stage, known)
    stage, late, refused = _one_pass([spec for spec in batch if spec.name in refused], stage, known)
    return Outcome(settled(stage), (*placed, *late), refused)


def _one_pass(
    specs: Iterable[VmSpec], stage: Stage, records: Mapping[str, GuestRecord]
) -> tuple[Stage, tuple[str, ...], dict[str, tuple[Reason, ...]]]:
    """The host after all of them were asked for in turn, who found room, and why the others did not."""
    refused: dict[str, tuple[Reason, ...]] = {}
    placed: list[str] = []
    for spec in specs:
        stage = without_vms(stage, (spec.name,))
        try:
            plan = place(spec, stage.facts, stage.policy, stage.ledger, records.get(spec.name))
        except Refused as refusal:
            refused[spec.name] = refusal.reasons
            continue
        stage = evolve(stage, ledger=stage.ledger.reserved(Holding(plan)))
        placed.append(spec.name)
    return stage, tuple(placed), refused


def settled(stage: Stage) -> Stage:
    """The host after everything that floats has followed the pool."""
    ledger = stage.ledger
    for plan in shared_repins(stage.facts, stage.policy, ledger):
        ledger = ledger.reserved(evolve(ledger.holdings[plan.name], plan=plan))
    return evolve(stage, ledger=ledger)


def without_vms(stage: Stage, names: Iterable[str]) -> Stage:
    """The host after these VMs ended: what their processes have taken is free again."""
    facts, ledger = stage.facts, stage.ledger
    for name in names:
        holding = ledger.holdings.get(name)
        if holding is not None:
            facts = evolve(facts, nodes=tuple(_given_back(node, holding) for node in facts.nodes))
            ledger = ledger.released(name)
    return evolve(stage, facts=facts, ledger=ledger)


def _given_back(node: HostNodeFacts, holding: Holding) -> HostNodeFacts:
    taken = {size: count for (host_node, size), count in holding.pages_taken.items() if host_node == node.host_node}
    free_bytes = node.memory_free_bytes + holding.base_taken_bytes.get(node.host_node, 0)
    return evolve(
        node,
        memory_free_bytes=min(node.memory_total_bytes, free_bytes),
        pools=tuple(
            evolve(pool, free=min(pool.total, pool.free + taken.get(pool.page_size_bytes, 0))) for pool in node.pools
        ),
    )


def with_offline(facts: HostFacts, pcpus: Collection[int]) -> HostFacts:
    """The host after these pCPUs went offline."""
    return evolve(
        facts, pcpus=tuple(evolve(pcpu, online=False) if pcpu.pcpu in pcpus else pcpu for pcpu in facts.pcpus)
    )


def stranded(facts: HostFacts, ledger: Ledger) -> tuple[str, ...]:
    """VMs with a vCPU of its own pCPUs that are not all online: they need a new seat; ascending by name."""
    online = facts.index.online
    return tuple(
        sorted(
            name
            for name, holding in ledger.holdings.items()
            if any(not vcpu.pin <= online and vcpu.vcpu_index not in holding.plan.floating for vcpu in holding.plan.vcpus)
        )
    )


def largest_of_shape(shape: Shape, stage: Stage) -> VmPlan | None:
    """The plan of the largest VM of a shape that fits; None where not even one guest core does.

    Found downwards from what pCPUs and memory could hold at best, in doubling steps, and then by halving: the one returned
    fits, and the next size does not. (Where a larger one fitted again behind one that does not, which even splits over
    nodes can bring about, it is not looked for.)
    """
    return _largest(lambda cores: _fit(shape.of_cores(cores), stage), _most_cores(shape, stage))


def _most_cores(shape: Shape, stage: Stage) -> int:
    """Guest cores that no VM of the shape exceeds here."""
    index, host = stage.ledger.index, stage.facts.index
    vcpus = MOST_VCPUS
    if shape.placement in OWN_PCPUS:
        free = host.online - index.exclusive.keys() - index.pinned.keys() - fixed_housekeeping(host, stage.policy)
        vcpus = min(vcpus, len({host.core_of[pcpu] for pcpu in free}) if shape.placement == "isolated" else len(free))
    if shape.memory_per_vcpu_bytes:
        vcpus = min(vcpus, sum(node.memory_total_bytes for node in stage.facts.nodes) // shape.memory_per_vcpu_bytes)
    return vcpus // shape.threads


def largest_memory(stage: Stage, hugepages_bytes: int | None = None) -> VmPlan | None:
    """The plan of the shared VM of one vCPU with the most memory that fits on one host node or over several."""
    unit = hugepages_bytes or 64 * MIB
    total = sum(node.memory_total_bytes for node in stage.facts.nodes) // unit

    def fit(units: int) -> VmPlan | None:
        memory = MemorySpec(size_bytes=units * unit, hugepages_bytes=hugepages_bytes)
        return _fit(VmSpec(name=PROBE, cpu=CpuSpec(vcpus=1), memory=memory), stage)

    return _largest(fit, total)


def _largest(fit: Callable[[int], VmPlan | None], most: int) -> VmPlan | None:
    """The best of 1 to `most`, tried at `most`, then 1, 2, 4… below, then by halving."""
    best: VmPlan | None = None
    good, bad, step = 0, most + 1, 1
    while bad - good > 1:
        middle = max(bad - step, 1) if best is None else (good + bad) // 2
        found = fit(middle)
        if found is None:
            bad, step = middle, step * 2
        else:
            good, best = middle, found
    return best


def _fit(spec: VmSpec, stage: Stage) -> VmPlan | None:
    try:
        return place(spec, stage.facts, stage.policy, stage.ledger)
    except Refused:
        return None
