"""What a binary lacks is said with the key that asks for it."""

from __future__ import annotations

import pytest
from attrs import evolve

from qsup.argv.missing import missing_capabilities
from qsup.plan.vmplan import IothreadPlan, VmPlan
from tests.argv.plans import CAPS, disk, huge_node, nic, rich_plan, vm_plan


def test_nothing_is_missing() -> None:
    assert missing_capabilities(rich_plan(), CAPS) == ()


@pytest.mark.parametrize(
    ("plan", "absent", "key"),
    [
        (vm_plan(), "kvm-accel", "machine.accel"),
        (vm_plan(accel="tcg"), "tcg-accel", "machine.accel"),
        (vm_plan(), "ICH9-LPC", "machine.type"),
        (vm_plan(), "memory-backend-ram", "memory.size"),
        (vm_plan(), "isa-serial", "console.serial"),
        (vm_plan(guest_nodes=(huge_node(),)), "memory-backend-memfd", "memory.hugepages"),
        (vm_plan(guest_nodes=(huge_node(),)), "thread-context", "memory.prealloc"),
        (vm_plan(disks=(disk(),)), "virtio-blk-pci", "disk[0].path"),
        (vm_plan(nics=(nic(),)), "virtio-net-pci", "nic[0].bridge"),
        (
            vm_plan(disks=(disk(), disk(1, iothread_id="io")), iothreads=(IothreadPlan("io", frozenset({0})),)),
            "iothread",
            "disk[1].iothread",
        ),
    ],
)
def test_a_type_that_is_not_built_in(plan: VmPlan, absent: str, key: str) -> None:
    (problem,) = missing_capabilities(plan, evolve(CAPS, object_types=CAPS.object_types - {absent}))
    assert (problem.code, problem.key) == ("argv.no-device", key)
    assert absent in problem.message


def test_an_unknown_machine() -> None:
    (problem,) = missing_capabilities(vm_plan(machine="pc-q35-99.0"), CAPS)
    assert (problem.code, problem.key) == ("argv.no-machine", "machine.type")


def test_a_cpu_model_is_known_whatever_its_features() -> None:
    assert missing_capabilities(vm_plan(cpu_model="EPYC-v3,-svm"), CAPS) == ()
    (problem,) = missing_capabilities(vm_plan(cpu_model="EPYC-v9,-svm"), CAPS)
    assert (problem.code, problem.key) == ("argv.no-cpu-model", "cpu.model")
    assert "the CPU model EPYC-v9," in problem.message


def test_an_aio_mode_that_is_not_built_in() -> None:
    caps = evolve(CAPS, aio_modes=frozenset({"threads"}))
    problems = missing_capabilities(vm_plan(disks=(disk(), disk(1, aio="io_uring"))), caps)
    assert [(problem.code, problem.key) for problem in problems] == [
        ("argv.no-aio", "disk[0].aio"),
        ("argv.no-aio", "disk[1].aio"),
    ]


def test_all_that_is_missing_is_said_at_once() -> None:
    caps = evolve(CAPS, machines=frozenset(), machine_aliases={}, object_types=frozenset())
    codes = [problem.code for problem in missing_capabilities(rich_plan(), caps)]
    assert codes[0] == "argv.no-machine"
    assert codes.count("argv.no-device") == 8
