"""From the start request to running and read back: qsup beside a script that does it by hand, in one run.

`python -m tests.bench.start`: each round starts the same VM both ways, right after each other, now one first and now the other.
The median of the rounds' ratios is the result: what else the machine does meanwhile slows both.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from qsup.api.client import Client
from qsup.host.links import delete_bridge
from tests.bench.bare import BareVm
from tests.hugepages import pool_turn
from tests.live.harness import Daemon, clean_up

ROUNDS = 40
LIMIT = 1.25


def main() -> int:
    """Print the row; 1 where the ratio is above the limit."""
    # A run directory lies on a tmpfs, as /run does; what must survive a reboot lies on a disk.
    root = Path(tempfile.mkdtemp(prefix="qsup-bench.", dir="/dev/shm"))
    bridge = f"qb{os.getpid() % 1000000}"
    daemon = Daemon(root, "[network]\ncreate_bridges = true\n")
    daemon.state_dir = Path(tempfile.mkdtemp(prefix="qsup-bench-state."))
    daemon.start()
    try:
        text = daemon.halting(
            f'[[nic]]\nbridge = "{bridge}"\n',
            cpu='vcpus = 2\nplacement = "pinned"\npin = ["0", "1"]',
            memory='size = "64MiB"\nhugepages = "2MiB"',
        ).replace("[vm]", "[vm]\nautostart = false", 1)
        daemon.drop("vm", text)
        daemon.wait_phase("vm", "absent")
        with pool_turn():
            bare, ours = _measure(daemon, root)
        stages = _stages(daemon)
    finally:
        clean_up(daemon)
        delete_bridge(bridge)
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(daemon.state_dir, ignore_errors=True)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    print(f"start to running and read back, 2 pinned vCPUs, 64 MiB of hugepages, a tap, KVM; {ROUNDS} rounds, medians")
    print(f"  by hand  {statistics.median(bare) * 1000:7.1f} ms   (fastest {min(bare) * 1000:.1f})")
    print(f"  qsup     {statistics.median(ours) * 1000:7.1f} ms   (fastest {min(ours) * 1000:.1f})")
    print(f"  ratio    {ratio:7.2f}      (of a round; limit {LIMIT})")
    print("  qsup's stages, medians in ms: " + ", ".join(f"{name} {value:.1f}" for name, value in stages.items()))
    return 0 if ratio <= LIMIT else 1


def _measure(daemon: Daemon, root: Path) -> tuple[list[float], list[float]]:
    client = daemon.client
    bare, ours = [], []
    _start(client)
    record = json.loads((daemon.run_dir / "vms" / "vm" / "launch.json").read_text())
    _stop(client)
    pages = Path("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages")
    for round_number in range(ROUNDS):
        if round_number % 2:
            ours.append(_start_and_stop(client))
        directory = root / f"bare{round_number}"
        directory.mkdir()
        bare.append(_by_hand(BareVm(record["options"], record, directory), pages))
        if not round_number % 2:
            ours.append(_start_and_stop(client))
    return bare, ours


def _by_hand(vm: BareVm, pages: Path) -> float:
    before = int(pages.read_text())
    try:
        began_s = time.perf_counter()
        pages.write_text(str(before + 32))  # qsup grows the pool within its start; so does this
        grown_s = time.perf_counter() - began_s
        return grown_s + vm.start()
    finally:
        vm.end()
        pages.write_text(str(before))


def _start_and_stop(client: Client) -> float:
    took_s = _start(client)
    _stop(client)
    return took_s


def _stages(daemon: Daemon) -> dict[str, float]:
    """The medians of the starts that the daemon still knows."""
    seen: dict[str, list[float]] = {}
    for start in daemon.view("vm")["starts"]:
        for stage in start["stages"]:
            seen.setdefault(stage["stage"], []).append(stage["duration_ms"])
    return {stage: statistics.median(values) for stage, values in seen.items()}


def _start(client: Client) -> float:
    began_s = time.perf_counter()
    client.post("/v1/vms/vm/start", {"wait": True})
    return time.perf_counter() - began_s


def _stop(client: Client) -> None:
    client.post("/v1/vms/vm/stop", {"force": True, "wait": True})


if __name__ == "__main__":
    sys.exit(main())
