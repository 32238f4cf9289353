"""Metrics of a fleet, judged by Prometheus' own parser; what a silent VM told last stays and has an age."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import define
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from qsup.api.metrics_text import text_of
from qsup.plan.policy import HostPolicy
from qsup.process.handle import QemuProcess
from qsup.process.identity import read_identity
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.block_watch import INTERVAL_S, LEASE_S
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.metrics import Metrics
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.view import StageView, StartView
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_watch import WaitWatch
from qsup.truth.threads import ThreadRow
from tests.argv.plans import vm_plan
from tests.qmp.speaker import Speaker, open_talk

COUNTERS = {
    "rd_bytes": 4096,
    "rd_operations": 1,
    "rd_total_time_ns": 2_000_000,
    "wr_bytes": 512,
    "wr_operations": 3,
    "wr_total_time_ns": 5_000_000,
    "flush_operations": 4,
    "flush_total_time_ns": 0,
}
DISK = {"device": "", "node-name": "d0", "qdev": "/machine/peripheral/disk0/virtio-backend", "stats": COUNTERS}
SYSTEM_DISK = {**DISK, "qdev": "/machine/unattached/device[3]"}


@define
class Scene:
    """A fleet of one running VM, its monitor's other end, and the metrics of it all."""

    vm: VmState
    services: Services
    metrics: Metrics
    speaker: Speaker

    def scrape(self) -> dict[str, Metric]:
        text = text_of(self.metrics.families()).decode()
        return {family.name: family for family in text_string_to_metric_families(text)}


def services_of(*vms: VmState) -> Services:
    policy = HostPolicy()
    fleet = {vm.name: vm for vm in vms}
    return Services(SettingsSpec(), policy, Reservations(policy), CapsCache(), EventLog(()), None, fleet)


@asynccontextmanager
async def open_scene() -> AsyncIterator[Scene]:
    vm = VmState("web1", phase="running")
    identity = read_identity(os.getpid())
    assert identity is not None
    vm.run.process = QemuProcess.open(identity)
    vm.run.plan = vm_plan()
    vm.run.link = QmpLink("q", "t", changed=lambda: None, on_event=lambda event: None, patience_s=5)
    pin = frozenset({1})
    vm.run.rows = (
        ThreadRow("vcpu", "vcpu 0", 11, "CPU 0/KVM", pin, pin, "ok"),
        ThreadRow("vcpu", "vcpu 1", 12, "CPU 1/KVM", pin, frozenset({2}), "drift"),
        ThreadRow("emulator", "emulator", None, "", pin, pin, "missing"),
    )
    services = services_of(vm)
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
        vm.run.link.telemetry = session
        metrics = Metrics(services, WaitWatch(services.fleet))
        nursery.start_soon(metrics.run)
        yield Scene(vm, services, metrics, speaker)
        nursery.cancel_scope.cancel()
    assert vm.run.process is not None
    vm.run.process.close()


def value_of(family: Metric, **labels: str) -> float:
    (value,) = [sample.value for sample in family.samples if labels.items() <= sample.labels.items()]
    return float(value)


async def test_state_threads_and_starts(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        stages = (StageView("plan", 2.5), StageView("greeting", 50.0))
        scene.vm.past.starts.append(StartView(1000.0, "running", 60.0, stages))
        scene.vm.run.truth.repairs = 3
        for code in ("vm.started", "vm.started", "spec.unknown-key", "spec.bad-mac"):
            scene.services.events.publish(code, "…", "web1")
        seen = scene.scrape()
    assert value_of(seen["qsup_vm_phase"], vm="web1", phase="running", wanted="off") == 1
    assert value_of(seen["qsup_vm_threads"], **{"class": "vcpu"}) == 2
    assert value_of(seen["qsup_vm_threads_in_place"], **{"class": "vcpu"}) == 1
    assert value_of(seen["qsup_vm_threads_drifting"]) == 1
    assert value_of(seen["qsup_vm_repairs"]) == 3
    assert value_of(seen["qsup_vm_start_seconds"]) == 0.06
    assert value_of(seen["qsup_vm_start_stage_seconds"], stage="greeting") == 0.05
    assert value_of(seen["qsup_events"], code="vm.started") == 2
    assert value_of(seen["qsup_events"], code="spec.any") == 2
    assert value_of(seen["qsup_vms"], phase="running") == 1
    assert value_of(seen["qsup_daemon_resident_bytes"]) > 1 << 20
    assert seen["qsup_hugepage_pool_pages"].type == "gauge"


async def answer_disks(speaker: Speaker) -> None:
    request = await speaker.hear()
    assert request["execute"] == "query-blockstats"
    await speaker.answer(request, [DISK, SYSTEM_DISK])


async def test_disks_are_asked_only_while_somebody_scrapes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        await trio.sleep(10 * INTERVAL_S)
        assert "qsup_vm_disk_read_bytes" not in scene.scrape()
        with trio.fail_after(1):
            await answer_disks(scene.speaker)
            await trio.testing.wait_all_tasks_blocked()
        seen = scene.scrape()
        assert value_of(seen["qsup_vm_disk_read_bytes"], vm="web1", disk="disk0") == 4096
        assert value_of(seen["qsup_vm_disk_operations"], disk="disk0", operation="write") == 3
        assert value_of(seen["qsup_vm_disk_operation_seconds"], disk="disk0", operation="read") == 0.002
        asked = 0
        with trio.move_on_after(3 * LEASE_S):
            while True:
                await answer_disks(scene.speaker)
                asked += 1
        assert asked == LEASE_S // INTERVAL_S


async def test_processes_are_looked_at_only_while_somebody_scrapes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        await trio.sleep(10 * INTERVAL_S)
        assert "qsup_vm_resident_bytes" not in scene.scrape()
        await trio.testing.wait_all_tasks_blocked()
        seen = scene.scrape()
        assert value_of(seen["qsup_vm_resident_bytes"], vm="web1") > 1 << 20
        assert value_of(seen["qsup_vm_cpu_seconds"], vm="web1", mode="user") > 0
        assert {sample.labels["direction"] for sample in seen["qsup_vm_storage_bytes"].samples} == {"read", "written"}
        last = value_of(seen["qsup_vm_cpu_seconds"], mode="user")
        await trio.sleep(2 * LEASE_S)
        process, scene.vm.run.process = scene.vm.run.process, None
        assert "qsup_vm_resident_bytes" not in scene.scrape(), "an earlier process says nothing of the next"
        scene.vm.run.process = process
        assert value_of(scene.scrape()["qsup_vm_cpu_seconds"], mode="user") >= last


async def test_what_a_silent_vm_told_last_stays_and_has_an_age(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        scene.scrape()
        await answer_disks(scene.speaker)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.vm.run.link is not None
        scene.vm.run.link.silent_since_s = trio.current_time()
        await trio.sleep(40)
        seen = scene.scrape()
        assert value_of(seen["qsup_vm_silent_seconds"], vm="web1") == pytest.approx(40)
        assert value_of(seen["qsup_vm_disk_sample_age_seconds"], vm="web1") == pytest.approx(40)
        assert value_of(seen["qsup_vm_disk_written_bytes"], disk="disk0") == 512


async def test_counters_of_an_earlier_qemu_are_not_shown_for_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        scene.scrape()
        await answer_disks(scene.speaker)
        await trio.testing.wait_all_tasks_blocked()
        process, scene.vm.run.process = scene.vm.run.process, None
        assert "qsup_vm_disk_written_bytes" not in scene.scrape()
        scene.vm.run.process = process


async def test_a_vm_that_is_off_has_a_phase_and_no_threads(autojump_clock: trio.testing.MockClock) -> None:
    services = services_of(VmState("db1"))
    families = {family.name: family for family in Metrics(services, WaitWatch(services.fleet)).families()}
    assert [sample.value for sample in families["qsup_vm_phase"].samples] == [1]
    assert families["qsup_vm_threads"].samples == []
    assert families["qsup_vm_silent_seconds"].samples == []
    names = [family.name for family in families.values()]
    assert len(names) == len(set(names))
    for family in families.values():
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.help.endswith(".")
