"""Many write at once: no write fails for another, and what stands there in the end is the newest."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing
from attrs import evolve

from qsup.process.record import read_record
from qsup.process.run_dir import create_vm_dir
from qsup.process.state_dir import read_order
from qsup.reconcile.desired import Power
from qsup.supervisor.notes import keep_power, keep_record
from qsup.supervisor.preparing import record_of
from qsup.supervisor.vm_state import RunSide, VmState
from tests.argv.plans import CAPS, vm_plan

ORDERS: tuple[Power, ...] = ("off", "on", "paused", "off", "on", "off", "paused", "on")


async def test_orders(tmp_path: Path) -> None:
    vm = VmState("vm")

    async def order(power: Power) -> None:
        vm.power.wanted = power
        await keep_power(str(tmp_path), vm)

    async with trio.open_nursery() as nursery:
        for power in ORDERS:
            nursery.start_soon(order, power)
    kept = read_order(str(tmp_path), "vm")
    assert kept is not None
    assert (kept.power, kept.end) == (vm.power.wanted, None)


async def test_records(tmp_path: Path) -> None:
    vm = VmState("vm")
    plan = vm_plan()
    paths = evolve(plan.paths, run_dir=str(tmp_path / "vms" / "vm"), launch_record=str(tmp_path / "vms" / "vm" / "launch.json"))
    (tmp_path / "vms").mkdir()
    create_vm_dir(paths)
    vm.run.plan = evolve(plan, paths=paths)
    vm.run.record = record_of(vm, vm.run.plan, CAPS.version)

    async def repin(number: int) -> None:
        assert vm.run.record is not None
        vm.run.record = evolve(vm.run.record, plan=evolve(vm.run.record.plan, emulator=frozenset({number})))
        await keep_record(vm)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(repin, number)
    assert read_record(paths.launch_record) == vm.run.record


async def test_what_was_released_meanwhile_is_not_written(tmp_path: Path) -> None:
    vm = VmState("vm")
    vm.run.record = record_of(vm, vm_plan(), CAPS.version)
    async with trio.open_nursery() as nursery, vm.run.writing:
        nursery.start_soon(keep_record, vm)
        await trio.testing.wait_all_tasks_blocked()
        vm.run = RunSide()
