"""Metrics of a fleet, judged by Prometheus' own parser; what a silent VM told last stays and has an age."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.guest_stats import INTERVAL_S, LATENCY_BOUNDARIES_NS, LEASE_S, REFUSED_S
from qsup.supervisor.metrics import Metrics
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.view import StageView, StartView
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.wait_watch import WaitWatch
from qsup.truth.memory import MemoryCount
from qsup.truth.threads import ThreadRow
from tests.argv.plans import vm_plan
from tests.promtool import needs_promtool, promtool
from tests.qmp.speaker import Speaker, open_talk, socket_streams

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
DISK: dict[str, Any] = {"device": "", "node-name": "d0", "qdev": "/machine/peripheral/disk0/virtio-backend", "stats": COUNTERS}
SYSTEM_DISK: dict[str, Any] = {**DISK, "qdev": "/machine/unattached/device[3]"}
VCPU_STATS = [
    {
        "provider": "kvm",
        "qom-path": f"/machine/unattached/device[{number}]",
        "stats": [
            {"name": "exits", "value": 10 * (number + 1)},
            {"name": "halt_exits", "value": 3 + number},
            {"name": "halt_wait_ns", "value": 1_250_000_000},
            {"name": "guest_mode", "value": False},
            {"name": "halt_wait_hist", "value": [1, 2]},
        ],
    }
    for number in range(2)
]
VM_STATS = [{"provider": "kvm", "stats": [{"name": "pages_2m", "value": 512}]}]


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
    async with open_talk(socket_streams()) as (session, speaker), trio.open_nursery() as nursery:
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


Asked = dict[str, int]


async def answer_all(speaker: Speaker, disks: list[dict[str, Any]], asked: Asked) -> None:
    """Be a QEMU with these disks, KVM's statistics and no balloon; how often it is asked what."""
    while True:
        request = await speaker.hear()
        name = str(request["execute"])
        arguments: Any = request.get("arguments", {})
        asked[name] = asked.get(name, 0) + 1
        if name == "query-blockstats":
            await speaker.answer(request, disks)
        elif name == "query-stats":
            await speaker.answer(request, VCPU_STATS if arguments["target"] == "vcpu" else VM_STATS)
        elif name == "block-latency-histogram-set":
            assert arguments["id"] == DISK["qdev"], "the system's own disk is none of the guest's"
            bounds = arguments["boundaries"]
            histogram = {"boundaries": bounds, "bins": [1, *([0] * (len(bounds) - 1)), 2]}
            latencies = {f"{kind}_latency_histogram": histogram for kind in ("rd", "wr", "flush")}
            disks[0] = {**disks[0], "stats": {**COUNTERS, **latencies}}
            await speaker.answer(request, {})
        else:
            await speaker.refuse(request, "DeviceNotActive", "No balloon device has been activated")


@asynccontextmanager
async def answering(scene: Scene) -> AsyncIterator[Asked]:
    """Its QEMU answers as long as the block lasts; it has been asked once."""
    asked: Asked = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_all, scene.speaker, [DISK, SYSTEM_DISK], asked)
        scene.scrape()
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.5)
        yield asked
        nursery.cancel_scope.cancel()


async def test_a_qemu_is_asked_only_while_somebody_scrapes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        await trio.sleep(10 * INTERVAL_S)
        assert "qsup_vm_disk_read_bytes" not in scene.scrape()
        async with answering(scene) as asked:
            seen = scene.scrape()
            assert value_of(seen["qsup_vm_disk_read_bytes"], vm="web1", disk="disk0") == 4096
            assert value_of(seen["qsup_vm_disk_operations"], disk="disk0", operation="write") == 3
            assert value_of(seen["qsup_vm_disk_operation_seconds"], disk="disk0", operation="read") == 0.002
            await trio.sleep(3 * LEASE_S)
            # Twice at once; its own moment within the interval costs or saves one.
            assert asked["query-blockstats"] == pytest.approx(1 + LEASE_S // INTERVAL_S, abs=1)
            assert asked["query-stats"] == 2 * asked["query-blockstats"]
            assert asked["query-balloon"] == 1, "it was refused, and is asked again much later"
            for _ in range(int(REFUSED_S // LEASE_S) + 1):
                scene.scrape()
                await trio.sleep(LEASE_S)
            assert asked["query-balloon"] == 2


async def test_latencies_are_counted_as_soon_as_somebody_scrapes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene, answering(scene) as asked:
        assert "qsup_vm_disk_latency_seconds" not in scene.scrape()
        await trio.sleep(2)
        latency = scene.scrape()["qsup_vm_disk_latency_seconds"]
        assert asked["block-latency-histogram-set"] == 1
    assert latency.type == "histogram"
    writes = {sample.labels["le"]: sample.value for sample in latency.samples if sample.labels.get("operation") == "write"
              and "le" in sample.labels}  # fmt: skip
    assert writes == {**{str(bound / 1e9): 1 for bound in LATENCY_BOUNDARIES_NS}, "+Inf": 3}
    rest = {(sample.name, sample.labels["operation"]): sample.value for sample in latency.samples if "le" not in sample.labels}
    assert rest["qsup_vm_disk_latency_seconds_count", "write"] == 3
    assert rest["qsup_vm_disk_latency_seconds_sum", "write"] == 0.005
    assert rest["qsup_vm_disk_latency_seconds_sum", "flush"] == 0


async def test_what_kvm_counts_is_summed_up_over_the_vcpus(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene, answering(scene):
        seen = scene.scrape()
    assert value_of(seen["qsup_vm_kvm_exits"], vm="web1") == 30
    assert value_of(seen["qsup_vm_kvm_exits_by_cause"], cause="halt") == 7
    assert {sample.labels["cause"] for sample in seen["qsup_vm_kvm_exits_by_cause"].samples} == {"halt"}
    assert value_of(seen["qsup_vm_kvm_halted_seconds"]) == 2.5
    assert value_of(seen["qsup_vm_kvm_mapped_pages"], page_size_bytes="2097152") == 512
    assert "qsup_vm_kvm_polled_seconds" not in seen, "this KVM does not tell"
    assert "qsup_vm_balloon_bytes" not in seen


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
        async with answering(scene):
            told_s = trio.current_time() - 0.5
        assert scene.vm.run.link is not None
        scene.vm.run.link.silent_since_s = trio.current_time()
        await trio.sleep(40)
        seen = scene.scrape()
        age_s = trio.current_time() - told_s
        assert value_of(seen["qsup_vm_silent_seconds"], vm="web1") == pytest.approx(40)
        assert value_of(seen["qsup_vm_disk_sample_age_seconds"], vm="web1") == pytest.approx(age_s)
        assert value_of(seen["qsup_vm_kvm_sample_age_seconds"], vm="web1") == pytest.approx(age_s)
        assert value_of(seen["qsup_vm_disk_written_bytes"], disk="disk0") == 512


async def test_one_that_owes_answers_gets_no_further_questions(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        for _ in range(5):
            scene.scrape()
            await trio.sleep(INTERVAL_S)
        async with trio.open_nursery() as nursery:
            asked: Asked = {}
            nursery.start_soon(answer_all, scene.speaker, [DISK, SYSTEM_DISK], asked)
            await trio.sleep(0.5)
            assert asked["query-blockstats"] == 1
            await trio.sleep(INTERVAL_S)
            assert asked["query-blockstats"] == 2
            nursery.cancel_scope.cancel()


async def test_answers_of_the_wrong_shape_are_no_trouble(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        scene.scrape()
        wrong: Any
        for wrong in ([{"stats": 1}], {"what": []}, [{"stats": [{"name": "exits"}]}], {"actual": -1}):
            await scene.speaker.answer(await scene.speaker.hear(), wrong)
        await trio.sleep(1)
        seen = scene.scrape()
    assert not {"qsup_vm_disk_read_bytes", "qsup_vm_kvm_exits", "qsup_vm_balloon_bytes"} & seen.keys()


async def test_counters_of_an_earlier_qemu_are_not_shown_for_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene, answering(scene):
        assert "qsup_vm_disk_written_bytes" in scene.scrape()
        process, scene.vm.run.process = scene.vm.run.process, None
        assert "qsup_vm_disk_written_bytes" not in scene.scrape()
        scene.vm.run.process = process


async def test_memory_is_told_as_it_was_counted_last(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene:
        truth = scene.vm.run.truth
        assert "qsup_vm_memory_local_ratio" not in scene.scrape()
        truth.count, truth.misplaced_bytes, truth.local_ratio = MemoryCount(time.time()), 1 << 20, 0.75
        truth.counted_s = trio.current_time()
        await trio.sleep(60)
        seen = scene.scrape()
        assert value_of(seen["qsup_vm_memory_misplaced_bytes"]) == 1 << 20
        assert value_of(seen["qsup_vm_memory_local_ratio"]) == 0.75
        assert value_of(seen["qsup_vm_memory_count_age_seconds"]) == pytest.approx(60)
        truth.count = MemoryCount(time.time(), problem="unreadable")
        assert "qsup_vm_memory_local_ratio" not in scene.scrape()


async def test_a_clock_that_steps_makes_no_phase_older(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_scene() as scene:
        scene.vm.enter("failed")
        moment_s = scene.vm.phase_since_s
        monkeypatch.setattr(time, "time", lambda: moment_s + 10 * 86400)
        assert value_of(scene.scrape()["qsup_vm_phase_age_seconds"]) < 3600


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


@needs_promtool
async def test_promtool_has_nothing_to_say(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scene() as scene, answering(scene):
        scene.vm.past.starts.append(StartView(1000.0, "running", 60.0, (StageView("plan", 2.5),)))
        await trio.sleep(2)
        text = text_of(scene.metrics.families())
    assert promtool("metrics", text=text) == (0, "")
