"""The truth table: kinds of thread, verdicts, and threads that come, go or cannot be told."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.truth.memory import memory_rows
from qsup.truth.thread_facts import ThreadFacts
from qsup.truth.threads import ThreadIds, ids_by_name
from qsup.truth.verified import SeenProcess, ThreadTruth, VmVerified, thread_truths
from tests.truth.plans import a_plan

ONLINE = frozenset(range(8))
PLAN = a_plan(vcpu_pins=[{2}, {3}], emulator={0}, iothreads={"io-disk0-is-long": {1}}, worker_pin={1})
IDS = ThreadIds(vcpus={0: 101, 1: 102}, iothreads={"io-disk0-is-long": 103})


def fact(tid: int, name: str, *pcpus: int, kernel: bool = False, policy: int = 0, priority: int = 0) -> ThreadFacts:
    return ThreadFacts(tid, name, frozenset(pcpus), last_pcpu=pcpus[0], policy=policy, rt_priority=priority, kernel=kernel)


THREADS = (
    fact(100, "qemu-system-x86", 0),
    fact(101, "CPU 0/KVM", 2, policy=1, priority=50),
    fact(102, "CPU 1/KVM", 3),
    fact(103, "IO io-disk0-is-", 1),
    fact(104, "worker", 0),
    fact(105, "iou-wrk-100", 0),
    fact(106, "TC prealloc0", 0),
    fact(107, "kvm-nx-lpage-re", 0),
    fact(108, "vhost-100", 1),
    fact(901, "kvm-pit/100", 0, kernel=True),
    fact(902, "vhost-100", 1, kernel=True),
    fact(903, "kvm-nx-lpage-recovery-100", 0, kernel=True),
)
HELPER = fact(300, "qemu-bridge-helper", 0)


def seen(*threads: ThreadFacts, helpers: tuple[ThreadFacts, ...] = ()) -> SeenProcess:
    every = {thread.tid: thread for thread in (*THREADS, *threads)}
    return SeenProcess(tuple(every.values()), helpers, {101: frozenset({2, 3})}, ONLINE)


def truths(
    process: SeenProcess, ids: ThreadIds | None = IDS, refused: Collection[int] = (), fought: Collection[int] = ()
) -> dict[int | None, ThreadTruth]:
    return {row.tid: row for row in thread_truths(PLAN, ids, process, refused=refused, fought=fought)}


def test_every_kind_of_thread_has_its_name_and_its_plan() -> None:
    rows = truths(seen(helpers=(HELPER,)))
    assert {tid: (row.kind, row.label) for tid, row in rows.items()} == {
        100: ("emulator", "emulator"),
        101: ("vcpu", "vcpu 0"),
        102: ("vcpu", "vcpu 1"),
        103: ("iothread", "iothread io-disk0-is-long"),
        104: ("worker", "worker"),
        105: ("io-wq", "io-wq"),
        106: ("thread-context", "thread-context"),
        107: ("nx-lpage-recovery", "nx-lpage-recovery"),
        108: ("vhost", "vhost"),
        901: ("kvm-pit", "kvm-pit"),
        902: ("vhost", "vhost"),
        903: ("nx-lpage-recovery", "nx-lpage-recovery"),
        300: ("helper", "helper"),
    }
    assert {row.verdict for row in rows.values()} == {"ok"}


def test_scheduling_and_cpuset_stand_in_the_row() -> None:
    row = truths(seen())[101]
    assert (row.last_pcpu, row.policy, row.rt_priority, row.cpuset) == (2, "fifo", 50, frozenset({2, 3}))
    assert truths(seen(fact(104, "worker", 0, policy=99)))[104].policy == "99"
    assert truths(seen())[102].cpuset is None


def test_a_vcpu_that_lost_its_real_time_priority_is_drift() -> None:
    plan = evolve(PLAN, realtime_priority=50)
    rows = {row.tid: row for row in thread_truths(plan, IDS, seen())}
    assert (rows[101].verdict, rows[101].note) == ("ok", "")
    assert (rows[102].verdict, rows[102].note) == ("drift", "its scheduler is other, planned is fifo 50")
    other = {row.tid: row for row in thread_truths(plan, IDS, seen(fact(102, "CPU 1/KVM", 3, policy=2, priority=7)))}
    assert other[102].note == "its scheduler is rr 7, planned is fifo 50"


def test_verdicts_and_their_reasons() -> None:
    moved = seen(fact(101, "CPU 0/KVM", 4), fact(105, "iou-wrk-100", 0, 1, 2))
    rows = truths(moved, refused={105}, fought={101})
    assert (rows[101].verdict, rows[101].note) == ("drift", "left alone: somebody moves it again and again")
    assert (rows[105].verdict, rows[105].note) == ("not placeable", "the kernel refuses to place it")
    assert truths(moved)[105].verdict == "drift", "a kernel that lets io-wq be placed"
    assert truths(seen(), refused={105})[105].verdict == "ok", "where it is anyway, nothing is wrong"


def test_a_pin_without_a_usable_pcpu() -> None:
    offline = SeenProcess(THREADS, (), {}, ONLINE - {2})
    assert truths(offline)[101].note == "no pCPU of its pin is online"
    caged = SeenProcess((*THREADS[:1], fact(101, "CPU 0/KVM", 5)), (), {101: frozenset({5})}, ONLINE)
    assert truths(caged, refused={101})[101].note == "its cpuset allows no pCPU of its pin"


def test_helper_processes_belong_where_the_emulator_is() -> None:
    rows = truths(seen(helpers=(HELPER, fact(301, "sh", 0, 4))))
    assert (rows[300].verdict, rows[301].verdict) == ("ok", "drift")


def test_a_thread_that_qemu_does_not_have_is_drift_and_one_that_nobody_tells_unknown() -> None:
    fewer = SeenProcess(tuple(thread for thread in THREADS if thread.tid != 102), (), {}, ONLINE)
    assert truths(fewer)[None].verdict == "drift"
    unknown = truths(fewer, ids=None)[None]
    assert (unknown.label, unknown.verdict) == ("vcpu 1", "unknown")


def test_names_stand_in_for_a_silent_qemu() -> None:
    assert ids_by_name(PLAN, THREADS) == IDS
    assert truths(seen(), ids=None) == truths(seen())


def test_the_worst_row_is_the_verdict() -> None:
    rows = tuple(truths(seen()).values())
    table = VmVerified("vm", "running", 1.0, 100, threads=rows)
    assert (table.verdict, table.counts) == ("ok", {"ok": 12, "drift": 0, "not placeable": 0, "unknown": 0})
    unknown = memory_rows(PLAN, None)
    assert VmVerified("vm", "running", 1.0, 100, threads=rows, memory=unknown).verdict == "unknown"
    drift = tuple(truths(seen(fact(101, "CPU 0/KVM", 4))).values())
    assert VmVerified("vm", "running", 1.0, 100, threads=drift, memory=unknown).verdict == "drift"


@pytest.mark.parametrize(
    ("phase", "pid", "verdict"), [("absent", None, "not running"), ("launched", 100, "unknown"), ("stray", None, "unknown")]
)
def test_without_rows(phase: str, pid: int | None, verdict: str) -> None:
    assert VmVerified("vm", phase, 1.0, pid).verdict == verdict


names = st.sampled_from(
    ["CPU 0/KVM", "CPU 99999/TCG", "CPU x/KVM", "IO io-disk0-is-", "worker", "vhost-1", "kvm-pit/1", "", ")"]
)
threads = st.lists(
    st.builds(fact, st.integers(1, 20), names, st.integers(0, 9), kernel=st.booleans(), policy=st.integers(0, 9)),
    unique_by=lambda thread: thread.tid,
)


@given(threads, st.booleans(), st.frozensets(st.integers(1, 20)))
def test_every_thread_has_exactly_one_row(found: list[ThreadFacts], told: bool, refused: frozenset[int]) -> None:
    ids = ThreadIds({0: 1, 1: 2}, {"io-disk0-is-long": 3}) if told else None
    rows = thread_truths(PLAN, ids, SeenProcess(tuple(found), online=ONLINE), refused=refused)
    there = [row.tid for row in rows if row.tid is not None]
    assert sorted(there) == sorted(thread.tid for thread in found)
    assert len(rows) - len(there) <= 3
    assert all(row.verdict in ("ok", "drift", "not placeable", "unknown") for row in rows)
