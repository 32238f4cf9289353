"""Plans built by hand, for the tests of argv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Argv
from qsup.bytesize import MIB
from qsup.plan.vmplan import (
    BootPlan,
    DiskPlan,
    GuestNodePlan,
    ImagePlan,
    IothreadPlan,
    NicPlan,
    PathsPlan,
    VcpuPlan,
    VmPlan,
)

CAPS = QemuCaps(
    version=(7, 2, 22),
    machines=frozenset({"pc-q35-7.2", "pc-i440fx-7.2"}),
    machine_aliases={"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"},
    object_types=frozenset(
        {
            "kvm-accel",
            "tcg-accel",
            "ICH9-LPC",
            "PIIX4_PM",
            "kvm-pit",
            "pvpanic",
            "rng-builtin",
            "virtio-rng-pci",
            "virtio-blk-pci",
            "virtio-net-pci",
            "iothread",
            "thread-context",
            "memory-backend-memfd",
            "memory-backend-ram",
            "isa-serial",
        }
    ),
    cpu_models=frozenset({"host", "max", "qemu64", "EPYC-v3"}),
)


def paths_in(directory: str) -> PathsPlan:
    """The VM's files, all in one directory."""
    return PathsPlan(
        run_dir=directory,
        qmp_socket=f"{directory}/qmp.sock",
        telemetry_socket=f"{directory}/telemetry.sock",
        console_socket=f"{directory}/console.sock",
        launch_record=f"{directory}/launch.json",
        log_dir=f"{directory}/log",
        serial_log=f"{directory}/log/serial.log",
        stderr_log=f"{directory}/log/stderr.log",
        state_dir=directory,
    )


def guest_node(number: int = 0, vcpus: Sequence[int] = (0, 1), size_bytes: int = 64 * MIB, **changes: Any) -> GuestNodePlan:
    """A guest node on base pages, bound to nothing."""
    node = GuestNodePlan(
        guest_node=number,
        vcpus=tuple(vcpus),
        size_bytes=size_bytes,
        host_nodes=(),
        policy="default",
        page_size_bytes=4096,
        hugepages=False,
        prealloc=False,
        distances=(10,),
    )
    return evolve(node, **changes)


def huge_node(number: int = 0, vcpus: Sequence[int] = (0, 1), size_bytes: int = 16 * MIB, **changes: Any) -> GuestNodePlan:
    """A guest node on 2 MiB pages of host node 0, touched in advance from pCPUs 0 and 1."""
    node = guest_node(
        number,
        vcpus,
        size_bytes,
        host_nodes=(0,),
        policy="bind",
        page_size_bytes=2 * MIB,
        hugepages=True,
        prealloc=True,
        pages=((0, size_bytes // (2 * MIB)),),
        prealloc_pcpus=frozenset({0, 1}),
    )
    return evolve(node, **changes)


def disk(number: int = 0, chain: Sequence[ImagePlan] = (), **changes: Any) -> DiskPlan:
    """A writable raw disk without an iothread, in slot 2 + number."""
    plan = DiskPlan(
        disk_id=f"disk{number}",
        chain=tuple(chain) or (ImagePlan(f"/srv/disk{number}.raw", "raw", False),),
        readonly=False,
        cache="none",
        aio="native",
        discard="unmap",
        iothread_id=None,
        pci_slot=2 + number,
        serial=None,
        boot_index=number,
    )
    return evolve(plan, **changes)


def nic(number: int = 0, **changes: Any) -> NicPlan:
    """A nic of one queue without vhost, in slot 10 + number."""
    plan = NicPlan(
        nic_id=f"net{number}",
        bridge="br0",
        create_bridge=False,
        tap=f"q-vm-{number}",
        mac=f"52:54:00:00:00:{number:02x}",
        queues=1,
        mtu=None,
        vhost=False,
        pci_slot=10 + number,
        worker_pin=frozenset({0}),
    )
    return evolve(plan, **changes)


def vm_plan(directory: str = "/run/qsup/vm", **changes: Any) -> VmPlan:
    """A q35 VM with two vCPUs on KVM, one guest node, a serial console, and no device."""
    plan = VmPlan(
        name="vm",
        uuid="11111111-2222-4333-8444-555555555555",
        qemu="qemu-system-x86_64",
        machine="pc-q35-7.2",
        accel="kvm",
        cpu_model="qemu64",
        sockets=1,
        cores=2,
        threads=1,
        placement="shared",
        vcpus=tuple(VcpuPlan(index, 0, index, 0, 0, frozenset({0, 1})) for index in range(2)),
        emulator=frozenset({0}),
        iothreads=(),
        guest_nodes=(guest_node(),),
        pool_growth=(),
        disks=(),
        nics=(),
        boot=BootPlan(),
        serial=True,
        log_bytes=MIB,
        paths=paths_in(directory),
    )
    return evolve(plan, **changes)


def rich_plan() -> VmPlan:
    """A plan in which every section has something to say."""
    chain = (ImagePlan("/srv/top.qcow2", "qcow2", False), ImagePlan("/srv/base.qcow2", "qcow2", True))
    return vm_plan(
        guest_nodes=(huge_node(0, (0,), distances=(10, 21)), huge_node(1, (1,), distances=(21, 10))),
        iothreads=(IothreadPlan("iothread0", frozenset({0})),),
        disks=(disk(0, chain, iothread_id="iothread0", serial="root"), disk(1)),
        nics=(nic(0, queues=2, vhost=True, mtu=9000), nic(1, vhost=True, boot_index=1)),
        boot=BootPlan(uefi_code="/srv/code.fd", uefi_vars="/srv/vars.fd", kernel="/srv/k", initrd="/srv/i", cmdline="quiet"),
    )


def values_of(argv: Argv, flag: str) -> list[str]:
    """The values of every option with this flag, in order."""
    return [option.value for option in argv.options if option.flag == flag and option.value is not None]
