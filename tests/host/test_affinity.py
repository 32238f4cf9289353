"""Pins and threads of real processes."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from qsup.errors import KernelRefused
from qsup.host.affinity import read_affinity, read_thread, set_affinity, threads_of
from qsup.host.kernel_threads import kernel_threads_of
from qsup.truth.threads import SeenThread

GONE = 1 << 22  # above every pid_max


class Parked:
    """A thread that waits until the block ends."""

    def __enter__(self) -> Parked:
        self.tid = 0
        self.ready, self.end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        self.ready.wait()
        return self

    def _run(self) -> None:
        self.tid = threading.get_native_id()
        self.ready.set()
        self.end.wait()

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.thread.join()


def wait_gone(tid: int) -> None:
    """Join tells that Python has left the thread; the kernel takes it off the list a moment later."""
    while os.path.exists(f"/proc/self/task/{tid}"):
        os.sched_yield()


def test_one_thread_is_pinned_and_the_others_are_not() -> None:
    before = read_affinity(0)
    pcpu = max(before)
    with Parked() as parked:
        assert set_affinity(parked.tid, {pcpu}) == {pcpu}
        assert read_affinity(parked.tid) == {pcpu}
        seen = {thread.tid: thread for thread in threads_of(os.getpid())}
        assert seen[parked.tid].affinity == {pcpu}
        assert seen[os.getpid()].affinity == before
        assert isinstance(seen[parked.tid], SeenThread)
    wait_gone(parked.tid)
    assert parked.tid not in {thread.tid for thread in threads_of(os.getpid())}


def test_what_a_thread_is_told_to_be() -> None:
    with Parked() as parked:
        thread = read_thread(os.getpid(), parked.tid)
    assert thread is not None
    assert thread.state in ("S", "R")  # it may still be on its way to waiting
    assert (thread.policy, thread.rt_priority, thread.kernel) == (0, 0, False)
    assert thread.last_pcpu in os.sched_getaffinity(0)
    assert thread.run_delay_ns is not None
    assert thread.run_time_ns is not None
    assert thread.timeslices


def test_names_with_brackets_and_spaces() -> None:
    own = f"/proc/self/task/{threading.get_native_id()}/comm"
    with open(own, encoding="ascii") as file:
        before = file.read()
    try:
        with open(own, "w", encoding="ascii") as file:
            file.write("CPU 0) (/K VM")
        thread = read_thread(os.getpid(), threading.get_native_id())
    finally:
        with open(own, "w", encoding="ascii") as file:
            file.write(before)
    assert thread is not None
    assert thread.name == "CPU 0) (/K VM"


def test_an_offline_pcpu_is_dropped_and_the_read_back_says_so() -> None:
    pcpu = min(read_affinity(0))
    with Parked() as parked:
        assert set_affinity(parked.tid, {pcpu, 8000}) == {pcpu}


@pytest.mark.parametrize("mask", [set(), {8000}, {-1}, {1 << 70}])
def test_masks_that_hold_no_usable_pcpu(mask: set[int]) -> None:
    with pytest.raises(KernelRefused) as caught:
        set_affinity(0, mask)
    assert caught.value.code == "host.mask-refused"


def test_a_thread_that_is_gone() -> None:
    with pytest.raises(KernelRefused, match="does not exist any more") as caught:
        set_affinity(GONE, {0})
    assert caught.value.code == "host.thread-gone"
    with pytest.raises(KernelRefused) as caught:
        read_affinity(GONE)
    assert caught.value.code == "host.thread-gone"
    assert threads_of(GONE) == ()
    assert read_thread(os.getpid(), GONE) is None


def test_this_process_has_no_kernel_threads() -> None:
    assert kernel_threads_of(os.getpid()) == ()


@pytest.mark.live
@pytest.mark.root
def test_kvm_pit_of_a_real_vm_is_found() -> None:
    """A VM made by three ioctls is enough for the kernel to start its `kvm-pit/PID`."""
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        pytest.skip("no /dev/kvm")
    vm = fcntl.ioctl(kvm, 0xAE01, 0)  # KVM_CREATE_VM
    try:
        fcntl.ioctl(vm, 0xAE60)  # KVM_CREATE_IRQCHIP
        fcntl.ioctl(vm, 0x4040AE77, bytes(64))  # KVM_CREATE_PIT2
        names = [thread.name for thread in kernel_threads_of(os.getpid()) if thread.kernel]
    finally:
        os.close(vm)
        os.close(kvm)
    assert f"kvm-pit/{os.getpid()}" in names
