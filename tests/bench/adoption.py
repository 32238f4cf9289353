"""From the start of a daemon to 20 running VMs adopted, beside the start of the same daemon with nothing to adopt.

`python -m tests.bench.adoption`: each round kills the daemon and starts it again with all VMs running and followed; the
other half of the round does the same on directories that hold no VM. The limit holds for the slowest round.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from qsup.api.client import DaemonAbsent
from tests.hugepages import pool_turn
from tests.live.harness import Daemon, clean_up, until

VMS = 20
ROUNDS = 7
LIMIT_S = 2.0


def main() -> int:
    """Print the row; 1 where the slowest adoption is beyond the limit."""
    root = Path(tempfile.mkdtemp(prefix="qsup-bench.", dir="/dev/shm"))
    full, empty = Daemon(_directory(root, "full")), Daemon(_directory(root, "empty"))
    try:
        with pool_turn():
            full.start()
            for number in range(VMS):
                full.drop(f"vm{number}", full.halting(cpu='vcpus = 2\nplacement = "pinned"\npin = ["0", "1"]'))
            until(lambda: _running(full) == VMS, "all VMs run")
            empty.start()
            adopted, bare = [], []
            for _ in range(ROUNDS):
                bare.append(_restart(empty, 0))
                adopted.append(_restart(full, VMS))
    finally:
        clean_up(full)
        clean_up(empty)
        shutil.rmtree(root, ignore_errors=True)
    print(f"start of a daemon, killed before, until {VMS} VMs of 2 pinned vCPUs are adopted and run; {ROUNDS} rounds")
    print(f"  nothing to adopt  {statistics.median(bare) * 1000:7.1f} ms   (slowest {max(bare) * 1000:.1f})")
    print(f"  {VMS} VMs           {statistics.median(adopted) * 1000:7.1f} ms   (slowest {max(adopted) * 1000:.1f})")
    print(f"  ratio             {statistics.median(adopted) / statistics.median(bare):7.2f}      (limit: slowest {LIMIT_S} s)")
    return 0 if max(adopted) <= LIMIT_S else 1


def _directory(root: Path, name: str) -> Path:
    directory = root / name
    directory.mkdir()
    return directory


def _restart(daemon: Daemon, vms: int) -> float:
    pids = sorted(daemon.qemu_pids())
    daemon.kill()
    began_s = time.perf_counter()
    daemon.start()
    until(lambda: _running(daemon) == vms, "all are adopted")
    took_s = time.perf_counter() - began_s
    assert sorted(daemon.qemu_pids()) == pids, "the same processes run on"
    return took_s


def _running(daemon: Daemon) -> int:
    """How many VMs run with their threads in place, as the daemon tells; over a plain client, which costs less than a CLI."""
    try:
        vms = daemon.client.get("/v1/vms")["vms"]
    except DaemonAbsent:
        return 0
    return sum(vm["phase"] == "running" for vm in vms)


if __name__ == "__main__":
    sys.exit(main())
