"""Context switches counted by a BPF program in this very kernel."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from qsup.errors import KernelRefused
from qsup.host import switch_times
from qsup.host.sched_samples import SchedSamples, Target
from qsup.host.switch_times import SwitchCounter
from qsup.truth.wait_samples import Thread
from tests.host.test_sched_samples import burner, fds


@pytest.fixture
def counter() -> Iterator[SwitchCounter]:
    before = fds()
    try:
        opened = SwitchCounter()
    except KernelRefused as refusal:
        pytest.skip(refusal.message)
    yield opened
    opened.close()
    assert fds() == before


def test_short_lived_and_burning_processes_are_counted_with_their_names(counter: SwitchCounter) -> None:
    counter.take()
    begun_ns = time.monotonic_ns()
    ran: dict[int, tuple[str, int]] = {}
    for _ in range(20):  # one that is reaped before its last switch has no id any more, and is nobody
        subprocess.run(["true"], check=True)
    with burner() as pid:
        while ran.get(pid, ("", 0))[1] < 50_000_000:
            for (_, tid), (name, ran_ns) in counter.take().items():
                ran[tid] = (name, ran.get(tid, ("", 0))[1] + ran_ns)
    assert "true" in {name for name, _ in ran.values()}
    assert ran[pid][0].startswith("python")
    assert ran[pid][1] <= time.monotonic_ns() - begun_ns
    assert 0 not in ran, "idleness is nobody"
    assert sum(ran_ns for _, ran_ns in ran.values()) <= (time.monotonic_ns() - begun_ns) * len(os.sched_getaffinity(1))


def test_what_was_taken_is_not_told_again(counter: SwitchCounter) -> None:
    begun_ns = time.monotonic_ns()
    with burner() as pid:
        told_ns = 0
        for _ in range(50):
            told_ns += sum(ran_ns for (_, tid), (_, ran_ns) in counter.take().items() if tid == pid)
        assert told_ns <= time.monotonic_ns() - begun_ns


def test_a_kernel_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fds()
    monkeypatch.setattr(switch_times, "_SYSCALL_NUMBERS", {})
    with pytest.raises(KernelRefused) as caught:
        SwitchCounter()
    assert caught.value.code == "host.bpf-refused"
    assert fds() == before
    samples = SchedSamples(exact=True)
    assert samples.take([], watched=True).ran is None
    assert samples.refusal is not None
    samples.close()


def test_samples_are_exact_only_while_watched_and_asked_to_be(counter: SwitchCounter) -> None:
    before, samples = fds(), SchedSamples(exact=True)
    own = Target(os.getpid(), os.getpid(), Thread("me", "web1", "vcpu", "vcpu 0"), fixed=False)
    targets = [own]
    assert samples.take(targets, watched=False).ran is None
    assert samples.take(targets, watched=True).ran is None, "nobody counted since the last sample"
    assert samples.take(targets, watched=True).ran is not None
    assert samples.take(targets, watched=False).ran is None
    assert samples.take(targets, watched=True).ran is None
    samples.close()
    assert fds() == before
    plain = SchedSamples()
    assert plain.take(targets, watched=True).ran is plain.take(targets, watched=True).ran is None
    plain.close()
