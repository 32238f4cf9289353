"""A real daemon with many real, halted VMs of twelve threads each, for the rows of `make bench` that need a full house."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.live.harness import Daemon, running_daemon, until

VCPUS, DISKS = 6, 2
DISK_BYTES = 1 << 20
PATIENCE_S = 600.0


@contextlib.contextmanager
def fleet_of(count: int, settings: str = "") -> Iterator[Daemon]:
    """A daemon whose VMs all run: 6 vCPUs and 2 disks, each with an iothread of its own; with QEMU's and KVM's own threads
    that makes twelve and some.
    """
    with tempfile.TemporaryDirectory(prefix="qsup-bench-", dir="/dev/shm") as directory:
        root = Path(directory)
        root.chmod(0o755)
        uids = f"\n[user]\nuid_first = {10_000_000 + os.getpid() % 100_000 * 1000}\nuid_count = 500\n"
        with running_daemon(root, settings + uids) as daemon:
            for number in range(count):
                daemon.drop(f"vm{number}", daemon.halting(_disks(root, number), cpu=f"vcpus = {VCPUS}"))
            until(lambda: running(daemon) == count, f"{count} VMs run", patience_s=PATIENCE_S)
            yield daemon


def running(daemon: Daemon) -> int:
    """How many VMs run."""
    return sum(vm["phase"] == "running" for vm in daemon.client.get("/v1/vms")["vms"])


def _disks(root: Path, number: int) -> str:
    text = ""
    for index in range(DISKS):
        image = root / f"vm{number}.{index}.raw"
        image.touch(0o666)
        image.chmod(0o666)
        os.truncate(image, DISK_BYTES)
        text += f'[[disk]]\npath = "{image}"\nformat = "raw"\naio = "threads"\n'
    return text
