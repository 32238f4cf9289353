"""A batch of every kind of VM is planned on every recorded machine: no exception, no broken promise."""

from __future__ import annotations

import pytest

from qsup.bytesize import GIB
from qsup.plan.ledger import Ledger
from qsup.plan.live_moves import room_by_moves
from qsup.plan.score import score_of
from qsup.plan.whatif import Shape, Stage, largest_of_shape, plan_batch
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.host.recorded import recorded_facts
from tests.host.synthesize import HOSTS_DIR
from tests.plan.asking import POLICY, dedicated, vm
from tests.plan.checker import faults_of
from tests.plan.hosts import HUGE_1G, HUGE_2M

NAMES = sorted(path.stem for path in HOSTS_DIR.glob("*.json"))


def batch() -> list[VmSpec]:
    huge = MemorySpec(size_bytes=2 * GIB, hugepages_bytes=HUGE_2M)
    large = MemorySpec(size_bytes=3 * GIB, hugepages_bytes=HUGE_1G)
    small = MemorySpec(size_bytes=GIB)
    spread = MemorySpec(size_bytes=2 * GIB, policy="interleave")
    return [
        dedicated("pair", 4, threads=2, memory=huge),
        dedicated("odd", 3, memory=small),
        dedicated("wide", 24, threads=2, memory=huge),
        vm("iso", cpu=CpuSpec(vcpus=2, placement="isolated"), memory=large),
        vm("pin", cpu=CpuSpec(vcpus=2, placement="pinned", pin=(frozenset({1}), frozenset({2, 3}))), memory=small),
        *(vm(f"web{number}", cpu=CpuSpec(vcpus=1 + number % 3), memory=small) for number in range(6)),
        vm("tiny", memory=MemorySpec(size_bytes=GIB // 8)),
        vm("spread", memory=spread),
        vm("vast", memory=MemorySpec(size_bytes=1 << 50)),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_on_a_recorded_host(name: str) -> None:
    facts = recorded_facts(name)
    specs = {spec.name: spec for spec in batch()}
    outcome = plan_batch(specs.values(), Stage(facts, POLICY, Ledger()))
    plans = [holding.plan for holding in outcome.stage.ledger.holdings.values()]
    assert faults_of(facts, POLICY, plans) == []
    assert outcome.placed or name == "malformed"
    assert "vast" in outcome.refused
    for refused in outcome.refused:
        assert room_by_moves(specs[refused], outcome.stage) is None or refused in ("pair", "iso", "wide", "odd")
    for plan in plans:
        score_of(plan, facts, outcome.stage.ledger)
    for shape in (Shape("dedicated", 2, GIB), Shape("isolated", 1, GIB, HUGE_2M), Shape("shared", 1, GIB)):
        largest_of_shape(shape, outcome.stage)
