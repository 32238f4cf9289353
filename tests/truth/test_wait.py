"""Wait with blame on hosts whose truth is known: who ran is named, what is not known is said to be so."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.truth.wait import WaitInterval, wait_interval, waited_pcpus
from qsup.truth.wait_blame import FIRST_LOOK, INTERRUPTS, MOST_NAMES, MOVED, NOT_SEEN, OTHERS, STEAL, UNLOOKED, UNNAMED
from qsup.truth.wait_samples import Counters, HostSample, PcpuTimes, Thread
from tests.truth.sampling import MS, SECOND_NS, Act, Host, named, shares_of, thread_of

VCPU = Act("vcpu 0", run_ms=250, wait_ms=750, vm="web1")


def test_two_burners_are_named_by_what_they_ran() -> None:
    interval, _ = Host((VCPU, Act("heavy[1]", 560), Act("light[2]", 190))).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert (vcpu.run_share, vcpu.ready_share, vcpu.unknown_share) == (0.25, 0.75, 0)
    assert named(vcpu) == {"heavy[1]": 560, "light[2]": 190}
    assert [item.who for item in vcpu.blame] == ["heavy[1]", "light[2]"]
    assert vcpu.involuntary == 40
    assert (interval.span_s, interval.blamed) == (1.0, True)


def test_only_who_ran_on_the_same_pcpu_counts() -> None:
    interval, _ = Host((VCPU, Act("here[1]", 750), Act("there[2]", 1000, pcpu=2))).interval()
    assert named(thread_of(interval, "vcpu 0")) == {"here[1]": 750}


def test_a_wait_is_shared_out_where_others_ran_more_than_it_waited() -> None:
    """While it slept, others ran as well: what they ran in the wait is not known, only in which proportion they ran at all."""
    waiting = evolve(VCPU, run_ms=100, wait_ms=300)
    interval, _ = Host((waiting, Act("a[1]", 600), Act("b[2]", 300))).interval()
    assert named(thread_of(interval, "vcpu 0")) == {"a[1]": 200, "b[2]": 100}


def test_vms_are_named_as_well_and_never_themselves() -> None:
    second = Act("vcpu 2", run_ms=750, wait_ms=250, vm="web3")
    interval, _ = Host((VCPU, second)).interval()
    assert named(thread_of(interval, "vcpu 0")) == {"web3 vcpu 2": 750}
    assert named(thread_of(interval, "vcpu 2")) == {"web1 vcpu 0": 250}


def test_without_a_look_at_the_others_everything_is_unknown() -> None:
    interval, _ = Host((VCPU, Act("a[1]", 750)), looked=False).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert (vcpu.blame, vcpu.unknown_share, vcpu.unknown_why) == ((), 0.75, FIRST_LOOK)


@pytest.mark.parametrize(
    "hopper",
    [
        Act("hopper[1]", 700, from_pcpu=2, fixed=False),
        Act("hopper[1]", 700, fixed=False, moves=6),
        Act("hopper[1]", 700, fixed=True, moves=6),
        Act("hopper[1]", 700, fixed=False, moves=None, from_pcpu=0),
    ],
)
def test_a_thread_that_moved_is_not_named(hopper: Act) -> None:
    interval, _ = Host((VCPU, hopper, Act("stayed[2]", 300))).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert "hopper[1]" not in named(vcpu)
    assert vcpu.unknown_why == UNNAMED
    assert vcpu.unknown_share == pytest.approx(0.45)


def test_a_wait_of_a_thread_that_moved_has_no_name() -> None:
    interval, _ = Host((evolve(VCPU, from_pcpu=2, fixed=False), Act("a[1]", 750))).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert (vcpu.blame, vcpu.unknown_share, vcpu.unknown_why) == ((), 0.75, MOVED)


def test_a_thread_whose_moves_were_not_read_before_is_not_said_to_have_moved() -> None:
    floating = evolve(VCPU, fixed=False)
    vcpu = thread_of(Host((evolve(floating, unread=True), Act("a[1]", 750))).interval()[0], "vcpu 0")
    assert (vcpu.blame, vcpu.unknown_share, vcpu.unknown_why) == ((), 0.75, UNLOOKED)
    vcpu = thread_of(Host((floating, Act("a[1]", 750))).interval()[0], "vcpu 0")
    assert (named(vcpu), vcpu.unknown_share) == ({"a[1]": 750}, 0)
    vcpu = thread_of(Host((evolve(VCPU, fixed=False, moves=2), Act("a[1]", 750))).interval()[0], "vcpu 0")
    assert (vcpu.blame, vcpu.unknown_share, vcpu.unknown_why) == ((), 0.75, MOVED)


@pytest.mark.parametrize(("sh_ms", "why"), [(150, UNLOOKED), (400, UNNAMED)])
def test_the_others_whose_moves_were_not_read_before_are_no_storm(sh_ms: float, why: str) -> None:
    """The reason is that of the most of what nobody named: here a[1], or what is missing besides it."""
    a = Act("a[1]", 700 - sh_ms, fixed=False, unread=True)
    interval, _ = Host((VCPU, a, Act("b[2]", 50))).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert (named(vcpu), vcpu.unknown_why) == ({"b[2]": 50}, why)
    assert vcpu.unknown_share == pytest.approx(0.7)


def test_a_storm_of_short_lived_processes_leaves_the_time_that_nobody_named() -> None:
    interval, _ = Host((VCPU, Act("sh[1]", 150))).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert named(vcpu) == {"sh[1]": 150}
    assert vcpu.unknown_share == pytest.approx(0.6)
    assert vcpu.unknown_why == UNNAMED


def test_a_process_that_was_born_meanwhile_has_run_from_nothing() -> None:
    interval, _ = Host((VCPU, Act("fresh[1]", 750, born=True))).interval()
    assert named(thread_of(interval, "vcpu 0")) == {"fresh[1]": 750}


def test_an_older_thread_that_nobody_looked_at_before_is_not_named() -> None:
    before, after = Host((VCPU, Act("late[1]", 750))).samples()
    found = wait_interval(evolve(before, others={}), after, {})
    assert found is not None
    vcpu = thread_of(found[0], "vcpu 0")
    assert (vcpu.blame, vcpu.unknown_share) == ((), 0.75)


def test_more_run_than_there_was_time_for_means_that_somebody_was_elsewhere() -> None:
    unsure = Act("maybe[1]", 900, fixed=False, moves=None)
    interval, _ = Host((VCPU, unsure, Act("sure[2]", 300))).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert vcpu.unknown_share > 0.2
    assert named(vcpu)["sure[2]"] <= 300
    assert sum(named(vcpu).values()) + vcpu.unknown_share * 1000 == pytest.approx(750)


def test_interrupts_and_steal_fill_the_gap_only() -> None:
    waiting = Act("vcpu 0", run_ms=600, wait_ms=400, vm="web1")
    interval, _ = Host((waiting, Act("a[1]", 200)), irq_ms=80, steal_ms=120).interval()
    assert named(thread_of(interval, "vcpu 0")) == {"a[1]": 200, STEAL: 120, INTERRUPTS: 80}
    interval, _ = Host((waiting, Act("a[1]", 400)), irq_ms=80, steal_ms=120).interval()
    assert named(thread_of(interval, "vcpu 0")) == {"a[1]": 400}


def test_steal_of_the_host_is_a_share_of_all_its_pcpus() -> None:
    interval, _ = Host((VCPU,), steal_ms=250).interval()
    assert interval.steal_share == 0.25


def test_nobody_was_seen() -> None:
    interval, _ = Host((VCPU,), idle_ms={1: 750}).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert (vcpu.blame, vcpu.unknown_share, vcpu.unknown_why) == ((), 0.75, NOT_SEEN)


def test_many_names_are_a_few_and_the_rest() -> None:
    interval, _ = Host((VCPU, *(Act(f"p[{n}]", 50 + n) for n in range(12)))).interval()
    names = [item.who for item in thread_of(interval, "vcpu 0").blame]
    assert (len(names), names[0], names[-1]) == (MOST_NAMES + 1, "p[11]", OTHERS)


def test_throttling_is_told_apart_and_blames_nobody() -> None:
    interval, _ = Host((VCPU, Act("a[1]", 150)), idle_ms={1: 600}, throttled_ms=600).interval()
    vcpu = thread_of(interval, "vcpu 0")
    assert vcpu.ready_share == 0.75
    assert vcpu.throttled_share == pytest.approx(0.6)
    assert named(vcpu) == {"a[1]": 150}
    assert interval.vms[0].throttled_share == 0.6


def test_throttling_is_shared_out_over_the_vms_threads() -> None:
    other = Act("vcpu 1", run_ms=750, wait_ms=250, vm="web1", pcpu=2)
    interval, _ = Host((VCPU, other), throttled_ms=500).interval()
    assert thread_of(interval, "vcpu 0").throttled_share == pytest.approx(0.375)
    assert thread_of(interval, "vcpu 1").throttled_share == pytest.approx(0.125)


def test_skew_is_between_vcpus_that_had_something_to_do() -> None:
    rows = (VCPU, Act("vcpu 1", 950, 50, vm="web1", pcpu=2), Act("vcpu 2", vm="web1", pcpu=0))
    interval, _ = Host((*rows, Act("emulator", 1, 999, vm="web1", thread_class="emulator"))).interval()
    (vm,) = interval.vms
    assert vm.ready_share == 0.75
    assert vm.skew_share == pytest.approx(0.7)
    assert vm.classes["vcpu"].threads == 3
    assert (vm.classes["vcpu"].run_ns, vm.classes["vcpu"].wait_ns) == (1200 * MS, 800 * MS)


def test_a_wait_that_goes_on_is_told_when_it_happens_and_not_a_second_time() -> None:
    starved = Act("vcpu 0", vm="web1", states=("R", "R"), slices=0)
    interval, credits = Host((starved, Act("rt[1]", 1000))).interval()
    assert thread_of(interval, "vcpu 0").ready_share == 1.0
    assert named(thread_of(interval, "vcpu 0")) == {"rt[1]": 1000}
    assert list(credits.values()) == [SECOND_NS]
    released = Act("vcpu 0", run_ms=600, wait_ms=1400, vm="web1")
    interval, credits = Host((released, Act("rt[1]", 400))).interval(credits)
    assert thread_of(interval, "vcpu 0").ready_share == pytest.approx(0.4)
    assert credits == {}


def test_a_runnable_thread_alone_on_its_pcpu_does_not_wait() -> None:
    """On nohz_full the kernel updates the run time of a thread that is alone once a second only."""
    alone = Act("vcpu 0", vm="web1", states=("R", "R"), slices=0)
    interval, credits = Host((alone,)).interval()
    assert (thread_of(interval, "vcpu 0").ready_share, credits) == (0, {})


def test_a_wait_longer_than_the_span_is_cut_to_it() -> None:
    interval, _ = Host((evolve(VCPU, run_ms=0, wait_ms=9000), Act("a[1]", 1000))).interval()
    assert thread_of(interval, "vcpu 0").ready_share == 1.0


def test_a_counter_that_went_back_tells_nothing_of_this_span() -> None:
    before, after = Host((VCPU, Act("vcpu 1", 500, 100, vm="web1"))).samples()
    broken = {
        key: (thread, now._replace(run_ns=1)) if thread.role == "vcpu 0" else (thread, now)
        for key, (thread, now) in after.threads.items()
    }
    found = wait_interval(before, evolve(after, threads=broken), {})
    assert found is not None
    assert [thread.role for thread in found[0].vms[0].threads] == ["vcpu 1"]


def test_a_thread_that_vanished_is_left_out() -> None:
    before, after = Host((VCPU, Act("vcpu 1", 500, vm="web1"))).samples()
    kept = dict(list(after.threads.items())[:1])
    found = wait_interval(before, evolve(after, threads=kept), {})
    assert found is not None
    assert [thread.role for thread in found[0].vms[0].threads] == ["vcpu 0"]


@pytest.mark.parametrize("back_ns", [0, 5 * SECOND_NS])
def test_a_clock_that_did_not_go_forward_gives_no_span(back_ns: int) -> None:
    before, after = Host((VCPU,)).samples()
    assert wait_interval(before, evolve(after, at_ns=before.at_ns - back_ns), {}) is None


def test_where_it_matters_who_else_ran() -> None:
    rows = (VCPU, Act("vcpu 1", 900, 5, vm="web1", pcpu=2), Act("vcpu 2", vm="web1", pcpu=0, states=("R", "R"), slices=0))
    before, after = Host(rows).samples()
    assert waited_pcpus(before, after) == {0, 1}


counters = st.builds(
    Counters,
    pcpu=st.integers(0, 2),
    state=st.sampled_from("RSD"),
    run_ns=st.integers(0, 3 * SECOND_NS),
    delay_ns=st.integers(0, 3 * SECOND_NS),
    timeslices=st.integers(0, 20),
    fixed=st.booleans(),
    migrations=st.none() | st.integers(0, 3),
    involuntary=st.none() | st.integers(0, 9),
)
times = st.builds(PcpuTimes, *(st.integers(0, 2 * SECOND_NS) for _ in range(3)))
keys = st.tuples(st.integers(1, 6), st.sampled_from([50, 5050]))


def threads(vm: str | None) -> st.SearchStrategy[dict[tuple[int, int], tuple[Thread, Counters]]]:
    who = st.sampled_from(["vcpu 0", "vcpu 1", "vhost"])
    made = who.map(lambda role: Thread(f"{vm} {role}", vm, role.split()[0], role) if vm else Thread(f"{role}[1]"))
    return st.dictionaries(keys, st.tuples(made, counters), max_size=5)


samples = st.builds(
    HostSample,
    at_ns=st.integers(0, 4 * SECOND_NS),
    at_ticks=st.sampled_from([0, 5000]),
    threads=threads("web1"),
    others=st.none() | threads(None),
    pcpus=st.dictionaries(st.integers(0, 2), times),
    throttled_ns=st.dictionaries(st.just("web1"), st.integers(0, SECOND_NS)),
)


@given(samples, samples, st.dictionaries(keys, st.integers(0, 2 * SECOND_NS)))
def test_whatever_the_counters_say_shares_add_up(
    before: HostSample, after: HostSample, credits: dict[tuple[int, int], int]
) -> None:
    found = wait_interval(before, after, credits)
    assert (found is None) == (after.at_ns <= before.at_ns)
    if found is None:
        return
    changed = {key for key, row in after.threads.items() if key not in before.threads or before.threads[key][1] is not row[1]}
    assert wait_interval(before, evolve(after, changed=changed), credits) == found, "a sampler that tells them changes nothing"
    interval, told = found
    assert 0 <= interval.steal_share <= 1
    assert all(value > 0 for value in told.values())
    for vm in interval.vms:
        assert 0 <= vm.skew_share <= 1
        for thread in vm.threads:
            assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares_of(thread))
            parts = thread.throttled_share + thread.unknown_share + sum(item.share for item in thread.blame)
            assert parts == pytest.approx(thread.ready_share, abs=1e-9)
            assert thread.unknown_why or not thread.unknown_share


STORM = Act("vcpu 0", run_ms=200, wait_ms=700, vm="web1")


def exactly(host: Host, ran: dict[tuple[int, int], tuple[str, int]]) -> WaitInterval:
    before, after = host.samples()
    found = wait_interval(before, evolve(after, ran={key: (name, ms * MS) for key, (name, ms) in ran.items()}), {})
    assert found is not None
    return found[0]


def test_where_switches_are_counted_short_lived_and_moving_threads_have_names() -> None:
    host = Host((STORM, Act("hop[9]", 500, pcpu=2, from_pcpu=1, moves=40)))
    ran = {(1, 100): ("CPU 0/KVM", 200), (1, 101): ("hop", 300), (1, 900): ("true", 250), (1, 901): ("true", 250),
           (2, 101): ("hop", 200)}  # fmt: skip
    interval = exactly(host, ran)
    thread = thread_of(interval, "vcpu 0")
    assert named(thread) == {"true (short-lived)": 437.5, "hop[9]": 262.5}
    assert (interval.exact, thread.unknown_share) == (True, 0)


def test_a_thread_that_did_not_leave_its_pcpu_is_told_by_sampling() -> None:
    host = Host((STORM, Act("burn[9]", 800)))
    thread = thread_of(exactly(host, {(1, 100): ("CPU 0/KVM", 200)}), "vcpu 0")
    assert named(thread) == {"burn[9]": 700}


def test_a_waiting_thread_that_moved_has_no_names_either() -> None:
    host = Host((evolve(STORM, moves=3),))
    thread = thread_of(exactly(host, {(1, 900): ("true", 800), (1, 100): ("x", 200)}), "vcpu 0")
    assert (named(thread), thread.unknown_why) == ({}, "it moved between pCPUs")
