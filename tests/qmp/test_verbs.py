"""Replies as a QEMU 7.2 (q35, TCG, 2 sockets of 1 core, one iothread, one disk) sent them, shortened in their lists."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from qsup.errors import QmpRefused
from qsup.qmp import results, verbs
from qsup.qmp.session import QmpSession
from qsup.qmp.shapes import MALFORMED_REPLY, Shape
from tests.qmp.speaker import open_talk

IMAGE = {"virtual-size": 1073741824, "filename": "/srv/a.qcow2", "format": "qcow2", "actual-size": 200704}
NODE = {"detect_zeroes": "off", "image": IMAGE, "ro": False, "node-name": "d0", "drv": "qcow2", "file": "/srv/a.qcow2"}
QDEV = "/machine/peripheral/v0/virtio-backend"
COUNTERS = {
    "rd_bytes": 1,
    "rd_operations": 2,
    "rd_total_time_ns": 3,
    "wr_bytes": 4,
    "wr_operations": 5,
    "wr_total_time_ns": 6,
    "flush_operations": 7,
    "flush_total_time_ns": 8,
    "failed_rd_operations": 1,
    "failed_wr_operations": 1,
    "failed_flush_operations": 0,
    "failed_unmap_operations": 0,
    "timed_stats": [],
}
VCPU = {"thread-id": 15381, "qom-path": "/machine/unattached/device[2]", "cpu-index": 1, "target": "x86_64"}
ANSWERS: dict[str, Any] = {
    "query-status": {"status": "prelaunch", "singlestep": False, "running": False},
    "query-cpus-fast": [
        {**VCPU, "props": {"core-id": 1, "thread-id": 0, "socket-id": 0}},
        {**VCPU, "cpu-index": 0, "thread-id": 15380, "props": {"node-id": 0}},
    ],
    "query-iothreads": [{"poll-shrink": 0, "thread-id": 15376, "aio-max-batch": 0, "id": "io0"}],
    "query-memdev": [
        {
            "share": False,
            "reserve": True,
            "prealloc": True,
            "host-nodes": [0],
            "size": 67108864,
            "merge": True,
            "dump": True,
            "policy": "bind",
            "id": "pc.ram",
        }
    ],
    "query-memory-size-summary": {"base-memory": 67108864, "plugged-memory": 0},
    "query-kvm": {"enabled": False, "present": True},
    "query-machines": [{"name": "pc-q35-7.2", "alias": "q35", "cpu-max": 288, "deprecated": False}],
    "query-cpu-definitions": [
        {"name": "host", "typename": "host-x86_64-cpu", "unavailable-features": ["kvm"], "deprecated": False},
        {"name": "old", "typename": "old-x86_64-cpu"},
    ],
    "query-block": [{"io-status": "ok", "device": "", "inserted": NODE, "qdev": QDEV}, {"device": "cd0"}],
    "query-blockstats": [{"device": "", "stats": COUNTERS, "node-name": "d0", "qdev": QDEV}],
    "query-named-block-nodes": [NODE],
    "query-version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"},
    "query-qmp-schema": [{"name": "cont", "meta-type": "command"}],
    "qom-list-types": [{"name": "isa-serial", "parent": "isa-device"}, {"name": "virtio-blk-pci"}],
    "device-list-properties": [{"name": "addr", "type": "int32"}, {"name": "romfile", "type": "str"}],
    "qom-get": "pc-q35-7.2-machine",
    "human-monitor-command": "* CPU #0: thread_id=15380\r\n",
    "cont": {},
    "stop": {},
    "system_powerdown": {},
    "system_reset": {},
    "quit": {},
}
Verb = Callable[[QmpSession], Awaitable[object]]
CASES: list[tuple[str, Verb, object]] = [
    ("query-status", verbs.query_status, results.RunStatus("prelaunch", False)),
    (
        "query-cpus-fast",
        verbs.query_cpus_fast,
        (
            results.VcpuThread(0, 15380, "/machine/unattached/device[2]", None, None, None, None, 0),
            results.VcpuThread(1, 15381, "/machine/unattached/device[2]", 0, None, 1, 0, None),
        ),
    ),
    ("query-iothreads", verbs.query_iothreads, (results.IothreadThread("io0", 15376),)),
    (
        "query-memdev",
        verbs.query_memdev,
        (results.MemoryBackend("pc.ram", 67108864, True, False, "bind", frozenset({0})),),
    ),
    ("query-memory-size-summary", verbs.query_memory_size_summary, results.MemorySize(67108864, 0)),
    ("query-kvm", verbs.query_kvm, results.KvmStatus(present=True, enabled=False)),
    ("query-machines", verbs.query_machines, (results.MachineType("pc-q35-7.2", "q35", False, False, 288),)),
    (
        "query-cpu-definitions",
        verbs.query_cpu_definitions,
        (
            results.CpuModel("host", "host-x86_64-cpu", False, frozenset({"kvm"})),
            results.CpuModel("old", "old-x86_64-cpu", False, None),
        ),
    ),
    (
        "query-block",
        verbs.query_block,
        (results.BlockFrontend("", QDEV, "d0", "ok", False), results.BlockFrontend("cd0", None, None, None, False)),
    ),
    ("query-blockstats", verbs.query_blockstats, (results.BlockCounters(QDEV, "d0", 1, 2, 3, 4, 5, 6, 7, 8, 2),)),
    (
        "query-named-block-nodes",
        verbs.query_named_block_nodes,
        (results.BlockNode("d0", "qcow2", "/srv/a.qcow2", False, 1073741824, 200704),),
    ),
    ("query-version", verbs.query_version, results.QemuVersion((7, 2, 22), "Debian")),
    ("query-qmp-schema", verbs.query_qmp_schema, [{"name": "cont", "meta-type": "command"}]),
    ("qom-list-types", verbs.qom_list_types, frozenset({"isa-serial", "virtio-blk-pci"})),
    (
        "device-list-properties",
        partial(verbs.device_list_properties, typename="virtio-blk-pci"),
        frozenset({"addr", "romfile"}),
    ),
    ("qom-get", partial(verbs.qom_get, path="/machine", name="type"), "pc-q35-7.2-machine"),
    (
        "human-monitor-command",
        partial(verbs.human_monitor_command, text="info cpus"),
        "* CPU #0: thread_id=15380\r\n",
    ),
    ("cont", verbs.cont, None),
    ("stop", verbs.stop, None),
    ("system_powerdown", verbs.system_powerdown, None),
    ("system_reset", verbs.system_reset, None),
    ("quit", verbs.quit_, None),
]
SHAPED = [(command, verb) for command, verb, expected in CASES if expected is not None and command != "qom-get"]


async def outcome_of(verb: Verb, answers: dict[str, Any]) -> object:
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(speaker.serve, answers)
        try:
            return await verb(session)
        except QmpRefused as refused:
            return refused
        finally:
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("command", "verb", "expected"), CASES)
async def test_each_verb_runs_its_command_and_types_its_answer(command: str, verb: Verb, expected: object) -> None:
    assert await outcome_of(verb, {command: ANSWERS[command]}) == expected


@pytest.mark.parametrize(("command", "verb"), SHAPED)
@pytest.mark.parametrize("wrong", [None, 3, "text", {}, [3], [{}], {"status": 1}, [{"name": []}]], ids=repr)
async def test_an_answer_of_the_wrong_shape_is_refused_with_its_place(command: str, verb: Verb, wrong: object) -> None:
    outcome = await outcome_of(verb, {command: wrong})
    if (command, type(wrong)) in {("human-monitor-command", str), ("query-qmp-schema", list)}:
        assert outcome == wrong  # right for these two
        return
    assert isinstance(outcome, QmpRefused)
    assert (outcome.command, outcome.error_class) == (command, MALFORMED_REPLY)
    assert " is " in outcome.description
    assert "expected" in outcome.description


@pytest.mark.parametrize(
    ("answer", "mapping"),
    [
        ([], ()),
        ([{"iothread": "io0", "vqs": [0, 2]}, {"iothread": "io1", "vqs": [1]}], (("io0", (0, 2)), ("io1", (1,)))),
        ([{"iothread": "io0"}], (("io0", ()),)),
        ("", MALFORMED_REPLY),
        ([{"vqs": [0]}], MALFORMED_REPLY),
        ([{"iothread": "io0", "vqs": ["0"]}], MALFORMED_REPLY),
    ],
)
async def test_how_a_disk_shares_out_its_queues(answer: object, mapping: object) -> None:
    outcome = await outcome_of(partial(verbs.iothread_vq_mapping, path="/machine/peripheral/disk0"), {"qom-get": answer})
    if isinstance(outcome, QmpRefused):
        assert outcome.error_class == mapping
    else:
        assert isinstance(outcome, tuple)
        assert tuple((row.iothread, row.vqs) for row in outcome) == mapping


async def test_a_vcpu_index_twice_is_refused() -> None:
    outcome = await outcome_of(verbs.query_cpus_fast, {"query-cpus-fast": [VCPU, VCPU]})
    assert isinstance(outcome, QmpRefused)
    assert outcome.error_class == MALFORMED_REPLY


@pytest.mark.parametrize("wrong", [-1, 2**64, 1.5, True, "15381", None])
async def test_a_thread_id_is_a_natural_number(wrong: object) -> None:
    vcpu = {**copy.deepcopy(VCPU), "thread-id": wrong}
    outcome = await outcome_of(verbs.query_cpus_fast, {"query-cpus-fast": [vcpu]})
    assert isinstance(outcome, QmpRefused)
    assert "[0]" in outcome.description


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(NODE)), inner, max_size=3),
)
READERS = [
    results.RunStatus.of,
    results.VcpuThread.of,
    results.QueueMapping.of,
    results.MemoryBackend.of,
    results.CpuModel.of,
    results.BlockFrontend.of,
    results.BlockCounters.of,
    results.BlockNode.of,
    results.QemuVersion.of,
]


@given(st.sampled_from(READERS), anything, st.sampled_from([*NODE, *IMAGE]))
def test_nothing_but_a_refusal_comes_out_of_a_hostile_answer(
    reader: Callable[[Shape], object], value: object, key: str
) -> None:
    for hostile in (value, {**NODE, key: value}, {**NODE, "image": {**IMAGE, key: value}}):
        try:
            error_class = MALFORMED_REPLY if reader(Shape("query", hostile)) is not None else "none"
        except QmpRefused as refused:
            error_class = refused.error_class
        assert error_class == MALFORMED_REPLY
