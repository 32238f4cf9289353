"""Networks and disks against what the kernel and QEMU tell."""

from __future__ import annotations

import pytest
from attrs import evolve

from qsup.plan.vmplan import DiskPlan, ImagePlan, QueueThread, VmPlan
from qsup.truth.devices import SILENT, DiskAnswers, DiskRow, NicRow, disk_rows, nic_rows, served_by
from qsup.truth.disk_aio import UNUSED, AioFacts
from qsup.truth.link_facts import LinkFacts
from tests.truth.plans import a_plan

PLAN = a_plan([{0}], {0}, {}, {0})
TAP = LinkFacts("tap0", 5, 1500, True, "tun", "br0", 1)
BRIDGE = LinkFacts("br0", 4, 1500, True, "bridge")
DISK = DiskPlan("disk0", (ImagePlan("/srv/a.qcow2", "qcow2", False),), False, "none", "native", "unmap", "io0", 4, None, 1)
ANSWERS = DiskAnswers({"disk0.0": "qcow2", "disk0.0.file": "file"}, {"disk0": "io0"}, {"disk0": 7})
NATIVE = AioFacts(native_contexts=1, uring_contexts=0)
FALLBACK = "Unable to use native AIO, falling back to thread pool: Resource temporarily unavailable"
URING_FALLBACK = "Unable to use linux io_uring, falling back to thread pool: Operation not permitted"
FALLBACKS = {"native": FALLBACK, "io_uring": URING_FALLBACK}


def nic_row(tap: LinkFacts | None, workers: int = 1, plan: VmPlan = PLAN) -> NicRow:
    (row,) = nic_rows(plan, {link.name: link for link in (tap, BRIDGE) if link is not None}, workers)
    return row


def disk_row(disk: DiskPlan = DISK, aio: AioFacts = NATIVE, answers: DiskAnswers | None = ANSWERS) -> DiskRow:
    (row,) = disk_rows(evolve(PLAN, disks=(disk,)), aio, answers)
    return row


def test_a_nic_as_planned() -> None:
    row = nic_row(TAP)
    assert (row.verdict, row.note, row.mtu, row.mtu_in_force, row.queues_in_force) == ("ok", "", 1500, 1500, 1)


@pytest.mark.parametrize(
    ("tap", "note"),
    [
        (None, "there is no tap tap0"),
        (evolve(TAP, bridge="br1"), "tap0 is a port of br1, not of br0"),
        (evolve(TAP, bridge=None), "tap0 is a port of no bridge, not of br0"),
        (evolve(TAP, mtu=1400), "its MTU is 1400, not 1500"),
        (evolve(TAP, queues=2), "it has 2 open queues, not 1"),
        (evolve(TAP, up=False, mtu=9000), "its MTU is 9000, not 1500; tap0 is down"),
    ],
)
def test_what_is_wrong_with_a_tap_is_said(tap: LinkFacts | None, note: str) -> None:
    row = nic_row(tap)
    assert (row.verdict, row.note) == ("drift", note)


def test_an_mtu_that_was_asked_for_counts_not_the_bridges() -> None:
    asked = evolve(PLAN, nics=(evolve(PLAN.nics[0], mtu=9000),))
    assert nic_row(evolve(TAP, mtu=9000), plan=asked).verdict == "ok"


def test_vhost_needs_a_worker_a_queue() -> None:
    row = nic_row(TAP, workers=0)
    assert (row.verdict, row.note, row.vhost_workers) == ("drift", "the VM has 0 vhost workers, not one a queue", 0)
    without = evolve(PLAN, nics=(evolve(PLAN.nics[0], vhost=False),))
    assert (nic_row(TAP, 0, without).verdict, nic_row(TAP, 0, without).vhost_workers) == ("ok", None)


def test_links_that_cannot_be_read_are_unknown() -> None:
    (row,) = nic_rows(PLAN, None, 1)
    assert (row.verdict, row.note, row.bridge_in_force) == ("unknown", "the links could not be read", None)


def test_a_disk_as_planned() -> None:
    row = disk_row()
    assert (row.verdict, row.note, row.aio_in_force, row.iothread_in_force) == ("ok", "", "native", "io0")


@pytest.mark.parametrize(
    ("aio", "facts", "in_force"),
    [
        ("threads", AioFacts(), "threads"),
        ("native", AioFacts(0, 1), "threads"),
        ("io_uring", AioFacts(1, 0), "threads"),
        ("io_uring", AioFacts(0, 2), "io_uring"),
        ("native", AioFacts(1, 0, (FALLBACK,)), "threads"),
        ("native", AioFacts(None, None), None),
    ],
)
def test_aio_in_force(aio: str, facts: AioFacts, in_force: str | None) -> None:
    row = disk_row(evolve(DISK, aio=aio), facts)
    assert row.aio_in_force == in_force
    assert row.verdict == ("unknown" if in_force is None else "ok" if in_force == aio else "drift")


def test_a_fallback_is_quoted() -> None:
    assert disk_row(aio=evolve(NATIVE, fallbacks=(FALLBACK,))).note == FALLBACK


def test_another_iothread_or_none() -> None:
    assert disk_row(answers=evolve(ANSWERS, iothreads={"disk0": ""})).note == "the main loop serves it, not io0"
    assert disk_row(evolve(DISK, iothread_id=None)).note == "io0 serves it, not the main loop"


SHARED_OUT = evolve(DISK, iothread_id="io0.0", queue_threads=(QueueThread("io0.0", (0, 1)), QueueThread("io0.1", (2, 3))))


@pytest.mark.parametrize(
    ("told", "note"),
    [
        ("io0.0:0,1 io0.1:2,3", ""),
        ("io0.0:0-3", "io0.0:0-3 serves it, not io0.0:0,1 io0.1:2,3"),
        ("io0.0:2,3 io0.1:0,1", "io0.0:2,3 io0.1:0,1 serves it, not io0.0:0,1 io0.1:2,3"),
        ("", "the main loop serves it, not io0.0:0,1 io0.1:2,3"),
    ],
)
def test_queues_that_are_shared_out_are_held_against_the_plan(told: str, note: str) -> None:
    row = disk_row(SHARED_OUT, answers=evolve(ANSWERS, iothreads={"disk0": told}))
    assert (row.iothread, row.iothread_in_force) == ("io0.0:0,1 io0.1:2,3", told)
    assert (row.verdict, row.note) == ("drift" if note else "ok", note)


def test_shared_out_queues_that_qemu_does_not_tell_are_unknown() -> None:
    row = disk_row(SHARED_OUT, answers=evolve(ANSWERS, iothreads={}))
    assert (row.verdict, row.iothread_in_force) == ("unknown", None)


def test_a_refusal_concerns_its_disk_only_and_is_quoted() -> None:
    other = evolve(DISK, disk_id="disk1", iothread_id=None)
    drivers, requests = {"disk0.0": "qcow2", "disk1.0": "qcow2"}, {"disk0": 7, "disk1": 7}
    answers = DiskAnswers(drivers, {"disk0": "io0"}, requests, {"disk1": "QEMU refuses"})
    rows = disk_rows(evolve(PLAN, disks=(DISK, other)), AioFacts(2, 0), answers)
    assert [(row.verdict, row.note) for row in rows] == [("ok", ""), ("unknown", "QEMU refuses")]


def test_without_its_nodes_a_disk_is_unknown_and_has_no_missing_node() -> None:
    row = disk_row(answers=evolve(ANSWERS, drivers=None, refused={"disk0": "QEMU refuses"}))
    assert (row.verdict, row.note, row.aio_in_force, row.iothread_in_force) == ("unknown", "QEMU refuses", "native", "io0")


def test_a_refusal_stands_beside_what_is_wrong() -> None:
    row = disk_row(answers=evolve(ANSWERS, iothreads={}, drivers={"disk0.0": "raw"}, refused={"disk0": "QEMU refuses"}))
    assert (row.verdict, row.note) == ("drift", "QEMU reads it as raw, not qcow2; QEMU refuses")


def test_a_mapping_reads_the_same_whoever_tells_it() -> None:
    assert served_by([("io10", [3]), ("io9", [2, 0])]) == served_by([("io9", [0, 2]), ("io10", [3])]) == "io9:0,2 io10:3"


def test_nodes_that_qemu_does_not_have() -> None:
    assert disk_row(answers=DiskAnswers({}, {"disk0": "io0"}, {"disk0": 7})).note == "QEMU has no node disk0.0"
    raw = disk_row(answers=evolve(ANSWERS, drivers={"disk0.0": "raw"}))
    assert (raw.verdict, raw.note) == ("drift", "QEMU reads it as raw, not qcow2")


def test_a_silent_qemu_leaves_the_kernels_word() -> None:
    silent = disk_row(answers=None)
    assert (silent.verdict, silent.note, silent.aio_in_force) == ("unknown", SILENT, "native")
    fell_back = disk_row(aio=AioFacts(0, 0, (FALLBACK,)), answers=None)
    assert fell_back.verdict == "drift", "what the log says is wrong all the same"


@pytest.mark.parametrize("aio", ["native", "io_uring"])
def test_a_disk_that_nobody_has_used_shows_nothing_and_is_no_drift(aio: str) -> None:
    disk = evolve(DISK, aio=aio)
    unused = evolve(ANSWERS, requests={"disk0": 0})
    row = disk_row(disk, AioFacts(0, 0), unused)
    assert (row.verdict, row.note, row.aio_in_force) == ("ok", UNUSED, None)
    fell_back = disk_row(disk, AioFacts(0, 0, (FALLBACKS[aio],)), unused)
    assert (fell_back.verdict, fell_back.note) == ("drift", FALLBACKS[aio])
    assert disk_row(disk, AioFacts(0, 0), evolve(unused, iothreads={"disk0": ""})).verdict == "drift"
    silent = disk_row(disk, AioFacts(0, 0), None)
    assert (silent.verdict, silent.note) == ("unknown", SILENT), "it may be that no request has come"
