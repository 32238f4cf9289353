"""Guest topology: how vCPUs are numbered into sockets, cores and threads, and grouped into guest cores."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from qsup.plan.case import Case
from qsup.spec.cpu import CpuSpec


@frozen
class Topology:
    """sockets × cores × threads = vCPUs, numbered as QEMU does: threads fastest, then cores, then sockets."""

    sockets: int
    cores: int
    threads: int

    @property
    def vcpus(self) -> int:
        """How many vCPUs there are."""
        return self.sockets * self.cores * self.threads

    def place_of(self, vcpu_index: int) -> tuple[int, int, int]:
        """(socket, core, thread) of a vCPU."""
        return (
            vcpu_index // (self.cores * self.threads),
            vcpu_index // self.threads % self.cores,
            vcpu_index % self.threads,
        )

    def guest_cores(self, vcpus: Iterable[int]) -> tuple[tuple[int, ...], ...]:
        """The vCPUs grouped by guest core, both ascending."""
        groups: dict[int, list[int]] = {}
        for vcpu_index in sorted(vcpus):
            groups.setdefault(vcpu_index // self.threads, []).append(vcpu_index)
        return tuple(tuple(group) for group in groups.values())


def topology_of(case: Case) -> Topology | None:
    """The guest topology, what is not written derived (one socket first); None with a reason where nothing comes out whole."""
    cpu = case.spec.cpu
    sockets, cores = _derived(cpu)
    topology = Topology(sockets, cores, cpu.threads)
    if min(cpu.vcpus, sockets, cores, cpu.threads) >= 1 and topology.vcpus == cpu.vcpus:
        return topology
    case.notes.refuse(
        "plan.topology",
        f"{cpu.vcpus} vCPUs cannot be made of sockets × cores × threads as written",
        needed=f"{cpu.vcpus} vCPUs",
        available=f"sockets {cpu.sockets or 'derived'} × cores {cpu.cores or 'derived'} × threads {cpu.threads}",
        hint="make sockets × cores × threads equal to vcpus, or leave sockets and cores out",
    )
    return None


def _derived(cpu: CpuSpec) -> tuple[int, int]:
    threads = max(1, cpu.threads)
    if cpu.sockets is not None:
        return cpu.sockets, cpu.cores or cpu.vcpus // max(1, cpu.sockets * threads)
    if cpu.cores is not None:
        return cpu.vcpus // max(1, cpu.cores * threads), cpu.cores
    return 1, cpu.vcpus // threads
