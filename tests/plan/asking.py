"""Short ways to ask the planner, for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from qsup.bytesize import GIB
from qsup.errors import Reason, Refused
from qsup.plan.batch import batch_order
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.plan.vmplan import VmPlan
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec

POLICY = HostPolicy()
ALIASES = {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"}


def vm(name: str = "web1", *, cpu: CpuSpec | None = None, memory: MemorySpec | None = None, **sections: Any) -> VmSpec:
    """A spec; one shared vCPU and 1 GiB of base pages where nothing else is said."""
    return VmSpec(name=name, cpu=cpu or CpuSpec(vcpus=1), memory=memory or MemorySpec(size_bytes=GIB), **sections)


def dedicated(name: str, vcpus: int, **more: Any) -> VmSpec:
    """A dedicated VM; `threads` and `memory` may be said."""
    memory = more.pop("memory", None)
    return vm(name, cpu=CpuSpec(vcpus=vcpus, placement="dedicated", **more), memory=memory)


def ask(
    spec: VmSpec,
    facts: HostFacts,
    ledger: Ledger | None = None,
    *,
    policy: HostPolicy = POLICY,
    record: GuestRecord | None = None,
    machine_aliases: Mapping[str, str] | None = None,
    disk_queue_threads: bool = False,
) -> VmPlan:
    """The plan on an empty ledger and under the default policy, where nothing else is said."""
    aliases = ALIASES if machine_aliases is None else machine_aliases
    return place(spec, facts, policy, ledger or Ledger(), record, aliases, disk_queue_threads=disk_queue_threads)


def refusal(spec: VmSpec, facts: HostFacts, ledger: Ledger | None = None, **more: Any) -> dict[str, Reason]:
    """The reasons of a refusal, by code (the first of each code)."""
    with pytest.raises(Refused) as caught:
        ask(spec, facts, ledger, **more)
    by_code: dict[str, Reason] = {}
    for reason in caught.value.reasons:
        by_code.setdefault(reason.code, reason)
    return by_code


def settle(ledger: Ledger, plan: VmPlan, facts: HostFacts, policy: HostPolicy = POLICY) -> Ledger:
    """The ledger after the plan is reserved and everything that floats has followed."""
    ledger = ledger.reserved(Holding(plan))
    for repinned in shared_repins(facts, policy, ledger):
        ledger = ledger.reserved(Holding(repinned))
    return ledger


def started(specs: Iterable[VmSpec], facts: HostFacts, *, policy: HostPolicy = POLICY) -> tuple[Ledger, dict[str, Refused]]:
    """All specs planned as one batch: the ledger with those that fit, and the refusals of the others."""
    ledger, refused = Ledger(), {}
    for spec in batch_order(specs):
        try:
            ledger = settle(ledger, ask(spec, facts, ledger, policy=policy), facts, policy)
        except Refused as error:
            refused[spec.name] = error
    return ledger, refused


def pins(plan: VmPlan) -> list[list[int]]:
    """The pin of each vCPU, ascending."""
    return [sorted(vcpu.pin) for vcpu in plan.vcpus]


def warning_codes(plan: VmPlan) -> list[str]:
    """The codes of the plan's warnings."""
    return [warning.code for warning in plan.warnings]
