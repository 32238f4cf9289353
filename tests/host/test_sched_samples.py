"""The scheduler's counters of real threads: kept descriptors, threads that end, others that burn."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qsup.host import other_threads, thread_counters
from qsup.host.net_counters import LinkCounters, read_link_counters
from qsup.host.other_threads import OtherThreads
from qsup.host.record import write_tree
from qsup.host.sched_samples import SchedSamples, Target, read_pcpu_times
from qsup.host.thread_counters import Stat, ThreadCounters, moves_of, process_clock_ns, schedstat_of, stat_of
from qsup.truth.wait_samples import HostSample, PcpuTimes, Thread

TEN_MS = 10_000_000


@contextmanager
def burner() -> Iterator[int]:
    """A process that burns; its pid."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
    finally:
        child.kill()
        child.communicate()


@contextmanager
def sleeper() -> Iterator[int]:
    """A process that sleeps until it is killed; its pid."""
    child = subprocess.Popen(["sleep", "3600"])
    try:
        while (stat := _stat(child.pid)).comm != "sleep" or stat.state != "S":
            pass
        yield child.pid
    finally:
        child.kill()
        child.wait()


def _stat(pid: int) -> Stat:
    stat = stat_of(Path(f"/proc/{pid}/stat").read_bytes())
    assert stat is not None
    return stat


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def noted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on each read of a kept descriptor is noted here."""
    reads: list[int] = []
    pread = os.pread

    def noted(fd: int, count: int, offset: int) -> bytes:
        reads.append(fd)
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", noted)
    return reads


def ran_ns(counters: ThreadCounters, pid: int) -> int:
    found = counters.read(pid, pid)
    assert found is not None
    return found[1].run_ns


def test_counters_of_a_thread_that_runs_grow_until_it_is_gone() -> None:
    before, counters = fds(), ThreadCounters()
    with burner() as pid:
        with_burner = fds()
        first = ran_ns(counters, pid)
        while ran_ns(counters, pid) < first + TEN_MS:
            pass
        assert counters.open_fds == fds() - with_burner == 2
        start, now = counters.read(pid, pid) or (0, None)
        assert now is not None
        assert now.pcpu in os.sched_getaffinity(pid)
        assert start == (stat_of(Path(f"/proc/{pid}/stat").read_bytes()) or pytest.fail("no stat")).start
    assert counters.read(pid, pid) is None
    assert counters.open_fds == 0
    assert fds() == before
    assert counters.read(pid, pid) is None, "and it does not come back"


def test_a_thread_that_did_nothing_has_the_very_same_counters() -> None:
    counters, everywhere = ThreadCounters(), frozenset(range(4096))
    with sleeper() as pid:
        first = counters.read(pid, pid)
        assert first is not None
        assert counters.read(pid, pid) is first, "its state was read again and is the same"
        assert counters.read(pid, pid, idle=everywhere) is first
        fixed = counters.read(pid, pid, fixed=True, idle=everywhere)
        assert fixed is not None
        assert fixed[1].fixed
        more = fixed[1]._replace(migrations=3, involuntary=4)
        counters.remember(pid, fixed[0], more)
        again = counters.read(pid, pid, fixed=True)
        assert again is not None
        assert again[1] is more
        counters.remember(pid, fixed[0] + 1, fixed[1])
        assert counters.read(pid, pid, fixed=True) == (fixed[0], more), "what another thread of that id did is not its own"
    assert counters.read(pid, pid, idle=everywhere) is None
    counters.close()


def test_a_thread_that_sleeps_is_not_asked_each_time_whether_it_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = ThreadCounters()
    with sleeper() as pid:
        counters.read(pid, pid)
        reads = noted_reads(monkeypatch)
        costs = []
        for _ in range(12):
            reads.clear()
            counters.read(pid, pid, trust=3)
            costs.append(len(reads))
    counters.close()
    assert sum(costs) == 12 + 3, "one look at its stat in four"
    assert set(costs) == {1, 2}


def test_a_thread_that_stands_runnable_is_told_anew_each_time() -> None:
    counters = ThreadCounters()
    with burner() as pid:
        while True:
            first, second = counters.read(pid, pid), counters.read(pid, pid)
            assert first is not None
            assert second is not None
            if first[1].state == second[1].state == "R":
                break
        assert second is not first
    counters.close()


def test_descriptors_are_bounded_and_closed() -> None:
    before, counters = fds(), ThreadCounters(most_fds=2)
    own = os.getpid()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert thread.native_id is not None
    try:
        assert counters.read(own, own) is not None
        assert counters.read(own, thread.native_id) is not None, "read without a kept descriptor"
        assert (counters.open_fds, fds()) == (2, before + 2)
        counters.keep_only([(own, thread.native_id)])
        assert fds() == before
        assert counters.read(own, thread.native_id) is not None
        counters.close()
        assert fds() == before
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("text", [b"", b"1 (x", b"1 (x) R 1 2", None])
def test_a_stat_that_is_cut_tells_nothing(text: bytes | None) -> None:
    assert stat_of(text) is None


def test_a_name_with_brackets_and_spaces() -> None:
    words = " ".join(str(number) for number in range(4, 53))
    stat = stat_of(f"7 (CPU 0/KVM) (x)) R {words}\n".encode())
    assert stat is not None
    assert (stat.comm, stat.state, stat.threads, stat.start, stat.pcpu) == ("CPU 0/KVM) (x)", "R", 20, 22, 39)


def test_what_is_no_schedstat() -> None:
    assert schedstat_of(b"1 2 3\n") == (1, 2, 3)
    assert schedstat_of(b"") is schedstat_of(None) is None
    assert moves_of(2**22 + 1) == (None, None)


def test_another_process_that_runs_is_seen_with_its_name() -> None:
    others = OtherThreads()
    with burner() as pid:
        first = others.look({}, set().__contains__, frozenset(os.sched_getaffinity(0)))
        (key,) = [key for key in first if key[0] == pid]
        assert first[key][0].who.endswith(f"[{pid}]")
        while True:
            later = others.look({}, set().__contains__, frozenset(os.sched_getaffinity(0)))
            if later[key][1].run_ns >= first[key][1].run_ns + TEN_MS:
                break
        assert later[key][1].migrations is not None
    gone = others.look({}, set().__contains__, frozenset())
    assert key not in gone


def test_own_threads_and_those_of_vms_are_named_so() -> None:
    with burner() as pid:
        seen = OtherThreads().look({pid: "web1"}, set().__contains__, frozenset())
    by_tid = {key[0]: thread.who for key, (thread, _) in seen.items()}
    assert by_tid[pid] == "web1 emulator"
    assert by_tid[os.getpid()] == "qsup's daemon"


def test_what_is_read_as_a_target_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    read_small = thread_counters.read_small

    def noted(path: str) -> bytes | None:
        paths.append(path)
        return read_small(path)

    monkeypatch.setattr(other_threads, "read_small", noted)
    with sleeper() as pid:
        OtherThreads().look({}, {pid}.__contains__, frozenset())
    assert paths
    assert not [path for path in paths if path.startswith(f"/proc/{pid}/")]


def test_a_program_that_becomes_another_has_its_new_name() -> None:
    others = OtherThreads()
    program = "import os, sys; sys.stdin.readline(); os.execv('/bin/sleep', ['sleep', '60'])"
    child = subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE)
    try:
        others.look({}, set().__contains__, frozenset())
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n":
            pass
        seen = others.look({}, set().__contains__, frozenset())
        names = {thread.who for key, (thread, _) in seen.items() if key[0] == child.pid}
        assert names <= {f"sleep[{child.pid}]", f"{Path(sys.executable).name}[{child.pid}]"}
    finally:
        child.kill()
        child.communicate()


def test_samples_look_at_the_rest_of_the_host_only_when_watched_or_when_somebody_waits() -> None:
    before, samples = fds(), SchedSamples()
    own = os.getpid()
    target = Target(own, own, Thread("web1 vCPU 0", "web1", "vcpu", "vcpu 0"), fixed=False)
    assert samples.take([target], watched=False).others is None
    watched = samples.take([target], watched=True)
    assert watched.others
    ((key, (thread, counters)),) = watched.threads.items()
    assert (key[0], thread.vm, counters.state) == (own, "web1", "R")
    assert own not in {key[0] for key in watched.others}
    assert watched.throttled_ns == {"web1": 0}
    assert samples.take([], watched=False).threads == {}
    samples.close()
    assert fds() == before


def test_a_process_that_slept_is_asked_again_when_it_has_run_and_now_and_then() -> None:
    samples, thread = SchedSamples(), Thread("web1 vCPU 0", "web1", "vcpu", "vcpu 0")
    shell = subprocess.Popen(["sh", "-c", "echo; read _; while :; do :; done"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert shell.stdout is not None
        shell.stdout.readline()
        targets = [Target(shell.pid, shell.pid, thread, fixed=False)]
        while not _slept(first := samples.take(targets, watched=False)):
            pass
        for _ in range(12):
            assert samples.take(targets, watched=False).threads == first.threads
        assert shell.stdin is not None
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        while _ran_ns(samples.take(targets, watched=False)) < _ran_ns(first) + TEN_MS:
            pass
    finally:
        shell.kill()
        shell.communicate()
    assert samples.take(targets, watched=False).threads == {}
    samples.close()


def test_a_sample_names_the_threads_that_have_other_counters_than_before() -> None:
    samples, thread = SchedSamples(), Thread("web1 vCPU 0", "web1", "vcpu", "vcpu 0")
    with sleeper() as asleep, burner() as busy:
        targets = [Target(pid, pid, thread, fixed=False) for pid in (asleep, busy)]
        last = samples.take(targets, watched=True)
        assert set(last.changed or ()) == set(last.threads)
        for watched in (True, False) * 20:
            sample = samples.take(targets, watched=watched)
            assert sample.changed is not None
            other = {key for key, row in sample.threads.items() if last.threads[key][1] is not row[1]}
            assert other <= set(sample.changed) <= {key for key in sample.threads if key[0] == busy}
            last = sample
    samples.close()


def test_what_is_known_of_a_process_outlives_the_coming_and_going_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, thread = SchedSamples(), Thread("web1 vCPU 0", "web1", "vcpu", "vcpu 0")
    with sleeper() as first, sleeper() as second:
        target = Target(first, first, thread, fixed=False)
        others = [Target(second, second, thread, fixed=False)]
        samples.take([target], watched=False)
        samples.take([target], watched=False)
        reads = noted_reads(monkeypatch)
        costs = []
        for turn in range(8):
            samples.take([target, *others[: turn % 2]], watched=False)
            costs.append(len(reads))
            reads.clear()
    samples.close()
    assert 0 in costs, "a process that slept on was not read although another one went"


def _slept(sample: HostSample) -> bool:
    return all(counters.state == "S" for _, counters in sample.threads.values())


def _ran_ns(sample: HostSample) -> int:
    return sum(counters.run_ns for _, counters in sample.threads.values())


def test_the_clock_of_a_process_stands_while_it_sleeps_and_is_none_when_it_is_gone() -> None:
    with sleeper() as pid:
        first = process_clock_ns(pid)
        assert first
        assert process_clock_ns(pid) == first == sum(_schedstat_run_ns(pid))
    assert process_clock_ns(pid) is None


def _schedstat_run_ns(pid: int) -> list[int]:
    return [int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]


def test_pcpu_times_of_this_host_and_of_a_made_up_one(tmp_path: Path) -> None:
    assert read_pcpu_times().keys() >= os.sched_getaffinity(0)
    text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu3 1 2 3 40 5 6 7 8 0 0\nintr 1\ncpu4 1 2\n"
    write_tree({"/proc/stat": text}, str(tmp_path))
    assert read_pcpu_times(str(tmp_path)) == {3: PcpuTimes(450_000_000, 130_000_000, 80_000_000)}
    assert read_pcpu_times(str(tmp_path / "nowhere")) == {}


def test_link_counters(tmp_path: Path) -> None:
    head = "Inter-|   Receive\n face |bytes\n"
    row = "  tap-1: 10 1 2 3 0 0 0 0 20 4 5 6 0 0 0 0\n bad: 1 2\n a:b: 7 0 0 0 0 0 0 0 8 0 0 0 0 0 0 0\n"
    write_tree({"/proc/net/dev": head + row}, str(tmp_path))
    assert read_link_counters(str(tmp_path)) == {
        "tap-1": LinkCounters(10, 1, 2, 3, 20, 4, 5, 6),
        "a:b": LinkCounters(7, 0, 0, 0, 8, 0, 0, 0),
    }
    assert "lo" in read_link_counters()
    assert read_link_counters(str(tmp_path / "nowhere")) == {}
