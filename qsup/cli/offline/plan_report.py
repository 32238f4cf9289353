"""The answer of `qsup plan` as JSON: one object a VM, what is refused and what would help, what still fits, the map."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from qsup.api.client import Json
from qsup.api.wire import problem_json
from qsup.bytesize import GIB
from qsup.cli.offline.plan_inputs import PlanInputs
from qsup.cpuset import format_cpulist
from qsup.errors import Reason
from qsup.natural import natural
from qsup.plan.live_moves import room_by_moves
from qsup.plan.reboot import seats_of
from qsup.plan.score import score_of
from qsup.plan.suggest import suggestions
from qsup.plan.vmplan import VmPlan
from qsup.plan.whatif import Outcome, Shape, Stage, largest_memory, largest_of_shape, shape_of
from qsup.process.json_shape import text_of
from qsup.spec.vmspec import VmSpec
from qsup.truth.host_map import map_of

_MEMORY_PER_VCPU_BYTES = 2 * GIB


def report_of(inputs: PlanInputs, without: Sequence[str], specs: Mapping[str, VmSpec], outcome: Outcome) -> Json:
    """The whole answer. `specs` are the VMs that were planned, by name."""
    stage = outcome.stage
    return {
        **frame_of(inputs),
        "vms": [*_vms(inputs, outcome), *_left_out(inputs, without)],
        "refused": [
            refusal_json(specs[name], outcome.refused[name], stage, inputs, runs=name in inputs.stage.ledger.holdings)
            for name in sorted(outcome.refused, key=natural)
        ],
        "room": room_of(inputs, stage),
        "map": plain(map_of(stage.facts, stage.policy, stage.ledger)),
    }


def frame_of(inputs: PlanInputs) -> Json:
    """What every answer says first."""
    return {
        "host": inputs.host.name,
        "basis": inputs.current.basis,
        "assumptions": list(inputs.assumptions),
        "notes": list(inputs.current.notes),
        "invalid": [
            {"file": file.path, "problems": [problem_json(problem) for problem in file.problems]} for file in inputs.invalid
        ],
    }


def plain(value: object) -> Json:
    """An attrs object as plain JSON."""
    document: Json = json.loads(text_of(value))
    return document


def _vms(inputs: PlanInputs, outcome: Outcome) -> Iterable[Json]:
    before, after = inputs.stage.ledger.holdings, outcome.stage.ledger.holdings
    for name in sorted(after, key=natural):
        plan, old = after[name].plan, before[name].plan if name in before else None
        yield vm_json(plan, old, _action(plan, old, name in outcome.placed), outcome.stage)


def _left_out(inputs: PlanInputs, without: Sequence[str]) -> Iterable[Json]:
    running = inputs.stage.ledger.holdings
    return ({"name": name, "action": "stops" if name in running else "stays off"} for name in sorted(set(without), key=natural))


def _action(plan: VmPlan, old: VmPlan | None, placed: bool) -> str:
    if old is None:
        return "starts"
    if placed:
        return "restarts"
    return "stays" if plan == old else "re-pinned"


def vm_json(plan: VmPlan, old: VmPlan | None, action: str, stage: Stage) -> Json:
    """One VM where it would sit; `before` where it sits now, null where it does not run or nothing changes."""
    moved = old is not None and seats_of(old) != seats_of(plan)
    return {
        "name": plan.name,
        "action": action,
        **seats_json(plan),
        "before": seats_json(old) if old is not None and moved else None,
        "score": plain(score_of(plan, stage.facts, stage.ledger)),
        "warnings": [problem_json(warning) for warning in plan.warnings],
    }


def seats_json(plan: VmPlan) -> Json:
    """Where everything of a VM sits; masks are cpulists."""
    return {
        "placement": plan.placement,
        "vcpus": [
            {"vcpu_index": vcpu.vcpu_index, "guest_node": vcpu.guest_node, "pin": format_cpulist(vcpu.pin)}
            for vcpu in plan.vcpus
        ],
        "emptied": format_cpulist(plan.emptied),
        "emulator": format_cpulist(plan.emulator),
        "iothreads": [{"id": thread.iothread_id, "pin": format_cpulist(thread.pin)} for thread in plan.iothreads],
        "nics": [{"id": nic.nic_id, "worker_pin": format_cpulist(nic.worker_pin)} for nic in plan.nics],
        "guest_nodes": [
            {
                "guest_node": node.guest_node,
                "host_nodes": list(node.host_nodes),
                "size_bytes": node.size_bytes,
                "page_size_bytes": node.page_size_bytes if node.hugepages else None,
            }
            for node in plan.guest_nodes
        ],
        "pool_growth": [
            {"host_node": growth.host_node, "page_size_bytes": growth.page_size_bytes, "count": growth.count}
            for growth in plan.pool_growth
        ],
        "overhead_bytes": plan.overhead_bytes,
    }


def refusal_json(spec: VmSpec, reasons: Iterable[Reason], stage: Stage, inputs: PlanInputs, *, runs: bool) -> Json:
    """Why a VM does not fit, and what would make it fit: changes, or moves of running VMs. Each was planned and fitted."""
    record = inputs.records.get(spec.name)
    made = room_by_moves(spec, stage, record)
    helping = suggestions(spec, stage.facts, stage.policy, stage.ledger, record)
    return {
        "name": spec.name,
        "runs": runs,
        "reasons": [plain(reason) for reason in reasons],
        "suggestions": [suggestion.text for suggestion in helping],
        "moves": [plain(move) for move in made.moves] if made is not None else [],
        "after_moves": seats_json(made.plan) if made is not None else None,
    }


def room_of(inputs: PlanInputs, stage: Stage) -> list[Json]:
    """The largest VM that would still fit, of each shape that is asked about."""
    shapes = [shape for spec in inputs.added if (shape := shape_of(spec)) is not None] or _usual_shapes(stage)
    rows = [_room_json(shape, largest_of_shape(shape, stage)) for shape in dict.fromkeys(shapes)]
    most = largest_memory(stage)
    return [*rows, _room_json(Shape("shared", 1, 0), most)]


def _usual_shapes(stage: Stage) -> list[Shape]:
    threads = min(2, stage.facts.index.threads)
    sizes = sorted({pool.page_size_bytes for node in stage.facts.nodes for pool in node.pools if pool.total})
    return [
        Shape("dedicated", threads, _MEMORY_PER_VCPU_BYTES),
        *(Shape("dedicated", threads, _MEMORY_PER_VCPU_BYTES, size) for size in sizes),
        Shape("isolated", 1, _MEMORY_PER_VCPU_BYTES),
    ]


def _room_json(shape: Shape, plan: VmPlan | None) -> Json:
    """`memory_per_vcpu_bytes` null: one vCPU, and as much memory as there is."""
    return {
        "placement": shape.placement,
        "threads": shape.threads,
        "memory_per_vcpu_bytes": shape.memory_per_vcpu_bytes or None,
        "hugepages_bytes": shape.hugepages_bytes,
        "vcpus": len(plan.vcpus) if plan else 0,
        "memory_bytes": plan.memory_bytes if plan else 0,
        "host_nodes": sorted({node for guest in plan.guest_nodes for node in guest.host_nodes}) if plan else [],
    }
