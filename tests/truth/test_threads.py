"""Whose thread is where: classes, missing threads, drift, offline pCPUs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsup.truth.threads import SeenThread, ThreadIds, all_ok, drifted, thread_rows
from tests.truth.plans import a_plan

ONLINE = frozenset(range(8))
PLAN = a_plan(vcpu_pins=[{2}, {3}], emulator={0}, iothreads={"io-disk0": {1}}, worker_pin={1})
IDS = ThreadIds(vcpus={0: 101, 1: 102}, iothreads={"io-disk0": 103})


def seen(**changes: set[int]) -> list[SeenThread]:
    masks = {"main": {0}, "vcpu0": {2}, "vcpu1": {3}, "io": {1}, "worker": {0}, "vhost": {1}} | changes
    return [
        SeenThread(100, "qemu-system-x86", frozenset(masks["main"])),
        SeenThread(101, "CPU 0/KVM", frozenset(masks["vcpu0"])),
        SeenThread(102, "CPU 1/KVM", frozenset(masks["vcpu1"])),
        SeenThread(103, "IO io-disk0", frozenset(masks["io"])),
        SeenThread(104, "worker", frozenset(masks["worker"])),
        SeenThread(105, "vhost-100", frozenset(masks["vhost"])),
    ]


def test_all_where_planned() -> None:
    rows = thread_rows(PLAN, IDS, seen(), ONLINE)
    assert [(row.label, row.tid) for row in rows] == [
        ("vcpu 0", 101),
        ("vcpu 1", 102),
        ("iothread io-disk0", 103),
        ("vhost", 105),
        ("emulator", 100),
        ("emulator", 104),
    ]
    assert all_ok(rows)


def test_a_moved_thread_is_drift_and_only_that_one() -> None:
    rows = thread_rows(PLAN, IDS, seen(vcpu1={2, 3}), ONLINE)
    assert [(row.label, row.affinity) for row in drifted(rows)] == [("vcpu 1", frozenset({2, 3}))]
    assert not all_ok(rows)


def test_a_planned_thread_that_is_not_there_is_missing() -> None:
    rows = thread_rows(PLAN, IDS, [thread for thread in seen() if thread.tid != 102], ONLINE)
    assert [row.label for row in rows if row.verdict == "missing"] == ["vcpu 1"]
    assert drifted(rows) == ()


def test_a_thread_id_that_qemu_claims_and_the_kernel_does_not_know_is_missing() -> None:
    rows = thread_rows(PLAN, ThreadIds(vcpus={0: 1, 1: 102}, iothreads={"io-disk0": 103}), seen(), ONLINE)
    assert [row.label for row in rows if row.verdict == "missing"] == ["vcpu 0"]


def test_vhost_workers_that_are_kernel_threads_get_the_worker_pin() -> None:
    ids = ThreadIds(IDS.vcpus, IDS.iothreads, vhost_kthreads=frozenset({900}))
    rows = thread_rows(PLAN, ids, [*seen(), SeenThread(900, "vhost-100", ONLINE)], ONLINE)
    assert [(row.thread_class, row.tid) for row in drifted(rows)] == [("vhost", 900)]


def test_an_offline_pcpu_is_no_drift_and_a_pin_with_none_online_is_not_placeable() -> None:
    plan = a_plan(vcpu_pins=[{2, 7}, {6}], emulator={0}, iothreads={}, worker_pin={0})
    threads = [SeenThread(101, "CPU 0/KVM", frozenset({2})), SeenThread(102, "CPU 1/KVM", frozenset({0, 1}))]
    rows = thread_rows(plan, IDS, threads, frozenset(range(6)))
    assert [row.verdict for row in rows] == ["ok", "not placeable"]


@given(st.lists(st.tuples(st.integers(100, 110), st.sets(st.integers(0, 7), min_size=1)), unique_by=lambda item: item[0]))
def test_every_thread_has_exactly_one_row(threads: list[tuple[int, set[int]]]) -> None:
    rows = thread_rows(PLAN, IDS, [SeenThread(tid, "t", frozenset(mask)) for tid, mask in threads], ONLINE)
    there = [row.tid for row in rows if row.tid is not None]
    assert sorted(there) == sorted(tid for tid, _ in threads)
    assert sum(row.tid is None for row in rows) == len({101, 102, 103} - set(there))
