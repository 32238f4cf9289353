"""Plans by hand, for tests that need only their threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qsup.plan.vmplan import BootPlan, GuestNodePlan, IothreadPlan, NicPlan, PathsPlan, VcpuPlan, VmPlan


def a_plan(
    vcpu_pins: Iterable[set[int]], emulator: set[int], iothreads: Mapping[str, set[int]], worker_pin: set[int]
) -> VmPlan:
    """A plan whose threads are pinned so, with one nic for the workers."""
    vcpus = tuple(VcpuPlan(index, 0, index, 0, 0, frozenset(pin)) for index, pin in enumerate(vcpu_pins))
    memory = GuestNodePlan(0, tuple(range(len(vcpus))), 64 << 20, (0,), "bind", 4096, False, False, (10,))
    nic = NicPlan("net0", "br0", False, "tap0", "52:54:00:00:00:01", 1, None, True, 4, frozenset(worker_pin))
    run = "/run/qsup/vms/vm"
    return VmPlan(
        name="vm",
        uuid="00000000-0000-0000-0000-000000000000",
        qemu="qemu-system-x86_64",
        machine="pc-q35-7.2",
        accel="kvm",
        cpu_model="host",
        sockets=1,
        cores=len(vcpus),
        threads=1,
        placement="pinned",
        vcpus=vcpus,
        emulator=frozenset(emulator),
        iothreads=tuple(IothreadPlan(name, frozenset(pin)) for name, pin in iothreads.items()),
        guest_nodes=(memory,),
        pool_growth=(),
        disks=(),
        nics=(nic,),
        boot=BootPlan(),
        serial=True,
        log_bytes=1 << 20,
        paths=PathsPlan(
            run,
            f"{run}/qmp.sock",
            f"{run}/telemetry.sock",
            f"{run}/console.sock",
            f"{run}/launch.json",
            f"{run}/log",
            f"{run}/log/serial.log",
            f"{run}/log/stderr.log",
            "/var/lib/qsup/vms/vm",
        ),
    )
