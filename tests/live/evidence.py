"""What the kernel itself says: masks, pages, taps, processes and directories, read without qsup."""

from __future__ import annotations

import os
from pathlib import Path

from tests.live.harness import Daemon

POOL = Path("/sys/devices/system/node/node0/hugepages/hugepages-2048kB")


def masks_of(pid: int) -> dict[int, tuple[str, str]]:
    """Each thread's name and cpulist."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/task"):
        status = Path(f"/proc/{pid}/task/{entry}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        found[int(entry)] = (fields["Name"], fields["Cpus_allowed_list"])
    return found


def vcpu_masks_of(pid: int) -> list[str]:
    """The cpulists of the vCPU threads, in order of their index."""
    vcpus = [(name, mask) for name, mask in masks_of(pid).values() if name.startswith("CPU ")]
    return [mask for _, mask in sorted(vcpus, key=lambda item: int(item[0].split()[1].split("/")[0]))]


def pool_pages() -> tuple[int, int]:
    """Total and free 2 MiB pages of node 0."""
    return int((POOL / "nr_hugepages").read_text()), int((POOL / "free_hugepages").read_text())


def ports_of(bridge: str) -> set[str]:
    """The links that are ports of a bridge."""
    directory = Path(f"/sys/class/net/{bridge}/brif")
    return set(os.listdir(directory)) if directory.exists() else set()


def links() -> set[str]:
    """All links of this host."""
    return set(os.listdir("/sys/class/net"))


def mounts_under(directory: Path) -> list[str]:
    """Mount points below a directory."""
    with open("/proc/self/mounts") as mounts:
        return [point for point in (line.split()[1] for line in mounts) if point.startswith(f"{directory}/")]


def leftovers(daemon: Daemon) -> list[str]:
    """Whatever of VMs is still there: processes, directories, sockets, mounts."""
    vms = daemon.run_dir / "vms"
    left = [f"process {pid}" for pid in daemon.qemu_pids()]
    left += [f"directory {path}" for path in (vms.iterdir() if vms.exists() else ())]
    left += [f"mount {point}" for point in mounts_under(daemon.run_dir)]
    return left
