"""What watching costs at a full house: the regular cycles, those of somebody who watches every second, a scrape.

*The daemon*: a real one with 100 real, halted VMs of 12 threads each; processor time of its process. *By itself*: sampling and
comparing alone, on one process with 1200 sleeping threads (the kernel answers the same questions as for QEMU's).

The numbers are of this machine and this moment. Where other programs keep its pCPUs busy, the VMs' threads wait for them, and
who they wait for is looked up each time; how much they waited is therefore told as well.

    python -m tests.bench.cycles [VMS]
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from qsup.host.sched_samples import SchedSamples, Target
from qsup.truth.wait import wait_interval
from qsup.truth.wait_names import name_in_vm
from qsup.truth.wait_samples import HostSample, Thread
from qsup.truth.wait_spent import Credits
from tests.bench.fleet import fleet_of
from tests.live.harness import Daemon
from tests.live.test_metrics import over_unix, value_of

VMS, VCPUS, THREADS = 100, 6, 12
ROUNDS = 20
SETTLE_S, WINDOW_S = 10.0, 30.0
SCRAPES_APART_S = 15.0
MOVED = 10
LIMITS = {"default": 1.0, "watched": 3.0, "scrape_ms": 50.0, "back_s": 1.5}
SLEEPERS = """
import sys, threading
done = threading.Event()
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=done.wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


def main(words: Sequence[str] = ()) -> int:
    """Print both measurements; 1 where one is beyond its limit."""
    _by_itself()
    with fleet_of(int(words[0]) if words else VMS) as daemon:
        return 0 if _whole_daemon(daemon) else 1


def _by_itself() -> None:
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEPERS, str(VMS * THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        targets = _targets(child.pid)
        print(f"sampling and comparing alone, {VMS} VMs with {THREADS} threads each, CPU of one turn:")
        print(f"  VM threads only          {_turn_ms(targets, watched=False):6.1f} ms")
        print(f"  all threads of the host  {_turn_ms(targets, watched=True):6.1f} ms")
    finally:
        child.kill()
        child.communicate()


def _targets(pid: int) -> list[Target]:
    tids = sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
    found = []
    for index, tid in enumerate(tids):
        vm, number = f"vm{index // THREADS}", index % THREADS
        thread_class = "vcpu" if number < VCPUS else "emulator"
        role = f"{thread_class} {number}"
        found.append(Target(pid, tid, Thread(name_in_vm(vm, role), vm, thread_class, role), fixed=number < VCPUS))
    return found


def _turn_ms(targets: list[Target], *, watched: bool) -> float:
    samples = SchedSamples()
    last, credits = _turn(samples, targets, None, {}, watched)
    begun_s = time.process_time()
    for _ in range(ROUNDS):
        last, credits = _turn(samples, targets, last, credits, watched)
    spent_s = time.process_time() - begun_s
    samples.close()
    return spent_s / ROUNDS * 1000


def _turn(
    samples: SchedSamples, targets: list[Target], last: HostSample | None, credits: Credits, watched: bool
) -> tuple[HostSample, Credits]:
    sample = samples.take(targets, watched=watched)
    found = wait_interval(last, sample, credits) if last is not None else None
    return sample, found[1] if found is not None else credits


def _whole_daemon(daemon: Daemon) -> bool:
    time.sleep(SETTLE_S)  # what the starts set off settles
    pids = [vm["pid"] for vm in daemon.client.get("/v1/vms")["vms"]]
    threads, vms = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids), len(pids)
    print(f"the whole daemon, {vms} halted VMs, {threads} threads, for {WINDOW_S:.0f} s each:")
    default = _percent_of_a_core(daemon, lambda: time.sleep(WINDOW_S))
    waits = _percent_of_a_core(daemon, lambda: _watch(daemon, "/v1/wait/stream"))
    watched = _percent_of_a_core(daemon, lambda: _watch(daemon, "/v1/top/stream"))
    print(f"  its default cycles       {default:6.2f} % of a core   (limit {LIMITS['default']})")
    print(f"  with `qsup top`          {watched:6.2f} % of a core   (limit {LIMITS['watched']})")
    print(f"  with `qsup wait --watch` {waits:6.2f} % of a core")
    scrape_ms = _scrape_ms(daemon)
    scraped = _percent_of_a_core(daemon, lambda: _scrape_now_and_then(daemon))
    asking_ms = max(scraped - default, 0) / 100 * SCRAPES_APART_S * 1000 - scrape_ms
    print(f"  a scrape                 {scrape_ms:6.1f} ms of CPU     (limit {LIMITS['scrape_ms']})")
    print(f"  scraped every {SCRAPES_APART_S:.0f} s       {scraped:6.2f} % of a core   "
          f"(asking {vms} QEMUs: some {max(asking_ms, 0):.0f} ms each time)")  # fmt: skip
    moved_s = [_back_after_s(daemon, f"vm{number}") for number in range(MOVED)]
    print(f"  a moved vCPU is back     {max(moved_s):6.2f} s at worst, of {MOVED} (limit {LIMITS['back_s']})")
    seen = over_unix(daemon)
    ready_s = sum(sample.value for sample in seen["qsup_vm_ready_seconds"].samples)
    print(f"  meanwhile its VMs' threads have waited {ready_s:.1f} s for pCPUs, in all since its start")
    print(f"  its memory               {value_of(seen['qsup_daemon_resident_bytes']) / 2**20:6.1f} MiB, "
          f"{value_of(seen['qsup_daemon_open_fds']):.0f} descriptors")  # fmt: skip
    figures = {"default": default, "watched": watched, "scrape_ms": scrape_ms, "back_s": max(moved_s)}
    return all(figures[name] < limit for name, limit in LIMITS.items())


def _back_after_s(daemon: Daemon, name: str) -> float:
    """Move one of a VM's vCPUs as taskset does, and see when it is back."""
    rows = daemon.client.get(f"/v1/vms/{name}")["threads"]
    tid = next(row["tid"] for row in rows if row["role"] == "vcpu 0")
    pin = os.sched_getaffinity(tid)
    elsewhere = {min(pin)} if len(pin) > 1 else set(os.sched_getaffinity(0)) - pin
    time.sleep(random.random())
    os.sched_setaffinity(tid, elsewhere)
    begun_s = time.monotonic()
    while os.sched_getaffinity(tid) != pin:
        time.sleep(0.005)
    return time.monotonic() - begun_s


def _watch(daemon: Daemon, stream: str) -> None:
    """Read a stream, as `qsup wait --watch` and `qsup top` do."""
    stop = threading.Event()
    reports: list[object] = []

    def read() -> None:
        for report in daemon.client.follow(stream):
            reports.append(report)
            if stop.is_set():
                return

    watcher = threading.Thread(target=read)
    watcher.start()
    time.sleep(WINDOW_S)
    stop.set()
    watcher.join()
    assert len(reports) > WINDOW_S / 2, "it was watched"


def _scrape_ms(daemon: Daemon) -> float:
    begun_s = _cpu_s(daemon)
    for _ in range(ROUNDS):
        over_unix(daemon)
    return (_cpu_s(daemon) - begun_s) / ROUNDS * 1000


def _scrape_now_and_then(daemon: Daemon) -> None:
    for _ in range(round(WINDOW_S / SCRAPES_APART_S)):
        over_unix(daemon)
        time.sleep(SCRAPES_APART_S)


def _percent_of_a_core(daemon: Daemon, meanwhile: Callable[[], None]) -> float:
    cpu_s, begun_s = _cpu_s(daemon), time.monotonic()
    meanwhile()
    return (_cpu_s(daemon) - cpu_s) / (time.monotonic() - begun_s) * 100


def _cpu_s(daemon: Daemon) -> float:
    """The processor time of a process and all threads it ever had; include/linux/posix-timers_types.h, CPUCLOCK_SCHED."""
    assert daemon.process is not None
    return time.clock_gettime(~daemon.process.pid << 3 | 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
