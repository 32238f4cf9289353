"""What watching costs: the daemon's regular cycles, a second's cycle, a scrape; in percent of one core and ms of CPU.

Two measurements. *By itself*: sampling and comparing the threads of 100 VMs with 12 threads each, made by one process with 1200
sleeping threads (the kernel answers the same questions as for QEMU's). *The whole daemon*: a real one with as many real, halted
VMs as are asked for (argument; default 20), its processor time over a while, and scaled to 100. On a machine that is busy
otherwise the host's other threads count in: the numbers are of this machine and this moment.

    python -m tests.bench.cycles [VMS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from qsup.api.metrics_text import text_of
from qsup.host.sched_samples import SchedSamples, Target
from qsup.supervisor.metric import Family
from qsup.truth.wait import wait_interval
from qsup.truth.wait_names import name_in_vm
from qsup.truth.wait_samples import HostSample, Thread
from qsup.truth.wait_spent import Credits
from tests.live.harness import Daemon, running_daemon, until
from tests.live.test_metrics import over_unix, value_of

VMS, VCPUS, THREADS = 100, 4, 12
ROUNDS = 20
WINDOW_S = 30.0
LIMITS = {"default": 1.0, "watched": 3.0, "scrape_ms": 50.0}
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
    sound = _by_itself()
    with tempfile.TemporaryDirectory(prefix="qsup-bench-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        with running_daemon(root) as daemon:
            sound &= _whole_daemon(daemon, int(words[0]) if words else 20)
    return 0 if sound else 1


def _by_itself() -> bool:
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEPERS, str(VMS * THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        targets = _targets(child.pid)
        print(f"sampling and comparing, {VMS} VMs with {THREADS} threads each, CPU of one turn:")
        quiet_ms = _turn_ms(targets, watched=False)
        watched_ms = _turn_ms(targets, watched=True)
        default, each_second = quiet_ms / 50, watched_ms / 10
        print(f"  VM threads only          {quiet_ms:6.1f} ms: {default:5.2f} % of a core, every 5 s")
        print(f"  all threads of the host  {watched_ms:6.1f} ms: {each_second:5.2f} % of a core, every second")
        return default < LIMITS["default"] and each_second < LIMITS["watched"]
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


def _whole_daemon(daemon: Daemon, count: int) -> bool:
    for number in range(count):
        daemon.drop(f"vm{number}", daemon.halting(cpu=f"vcpus = {VCPUS}"))
    until(lambda: _running(daemon) == count, f"{count} VMs run", patience_s=300)
    seen = over_unix(daemon)
    threads = sum(sample.value for sample in seen["qsup_vm_threads"].samples)
    scale = VMS * THREADS / threads
    print(f"the whole daemon, {count} halted VMs, {threads:.0f} threads; in brackets scaled to {VMS} × {THREADS}:")
    idle = _percent_over(daemon)
    print(f"  its default cycles       {idle:6.2f} % of a core ({idle * scale:.2f} %)")
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(daemon, stop))
    watcher.start()
    watched = _percent_over(daemon)
    stop.set()
    watcher.join()
    print(f"  watched every second     {watched:6.2f} % of a core ({watched * scale:.2f} %)")
    before = _cpu_s(daemon)
    for _ in range(ROUNDS):
        over_unix(daemon)
    scrape_ms = (_cpu_s(daemon) - before) / (ROUNDS + 1) * 1000
    print(f"  a scrape                 {scrape_ms:6.1f} ms of CPU ({scrape_ms * VMS / count:.1f} ms), "
          f"of which writing {_writing_ms(count):.1f} ms")  # fmt: skip
    print(f"  its memory               {value_of(seen['qsup_daemon_resident_bytes']) / 2**20:6.1f} MiB")
    print(f"limits: {LIMITS['default']} %, {LIMITS['watched']} %, {LIMITS['scrape_ms']} ms")
    return idle * scale < LIMITS["default"] and watched * scale < LIMITS["watched"] and scrape_ms * VMS / count < 50


def _running(daemon: Daemon) -> int:
    return sum(vm["phase"] == "running" for vm in daemon.client.get("/v1/vms")["vms"])


def _watch(daemon: Daemon, stop: threading.Event) -> None:
    for _ in daemon.client.follow("/v1/wait/stream"):
        if stop.is_set():
            return


def _cpu_s(daemon: Daemon) -> float:
    return value_of(over_unix(daemon)["qsup_daemon_cpu_seconds"])


def _percent_over(daemon: Daemon) -> float:
    """The daemon's processor time over a window, less what the two scrapes themselves took being ignored."""
    time.sleep(2)  # what the last step set off settles
    before, begun_s = _cpu_s(daemon), time.monotonic()
    time.sleep(WINDOW_S)
    return (_cpu_s(daemon) - before) / (time.monotonic() - begun_s) * 100


def _writing_ms(count: int) -> float:
    family = Family("qsup_x", "gauge", "x")
    for number in range(count * 50):
        family.add(number * 0.1, vm=f"vm{number}", disk="disk0")
    begun_s = time.process_time()
    text_of([family])
    return (time.process_time() - begun_s) * 1000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
