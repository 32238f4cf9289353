"""VmSpec: all that one file asks, and the rules between its sections."""

from __future__ import annotations

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.spec.boot import RULES as BOOT_RULES
from qsup.spec.boot import BootSpec
from qsup.spec.console import ConsoleSpec
from qsup.spec.cpu import RULES as CPU_RULES
from qsup.spec.cpu import CpuSpec
from qsup.spec.disk import RULES as DISK_RULES
from qsup.spec.disk import DiskSpec
from qsup.spec.faults import Place, quoted
from qsup.spec.machine import MachineSpec
from qsup.spec.memory import RULES as MEMORY_RULES
from qsup.spec.memory import MemorySpec
from qsup.spec.nic import NicSpec
from qsup.spec.schema import key
from qsup.spec.tables import sound, table_of, tables_of
from qsup.spec.vm import RULES as VM_RULES
from qsup.spec.vm import VmSectionSpec

NO_HOTPLUG = "the device sits on the root bus, where q35 takes none while the guest runs"  # QEMU docs/pcie.txt, section 2.1


@frozen
class VmSpec:
    """A virtual machine as asked; the name is the file's name without `.toml`."""

    name: str
    cpu: CpuSpec = field(
        metadata=key(
            table_of(CpuSpec, CPU_RULES),
            doc="How many vCPUs, their guest topology, and where they may run.",
            effect="cold-restart",
            reason="",
        ),
    )
    memory: MemorySpec = field(
        metadata=key(
            table_of(MemorySpec, MEMORY_RULES),
            doc="How much memory, on which pages, on which nodes.",
            effect="cold-restart",
            reason="",
        ),
    )
    vm: VmSectionSpec = field(
        factory=VmSectionSpec,
        metadata=key(
            table_of(VmSectionSpec, VM_RULES),
            doc="How the machine lives: autostart, restarts, grace. Times are numbers of seconds.",
            effect="none",
            reason="",
        ),
    )
    machine: MachineSpec = field(
        factory=MachineSpec,
        metadata=key(table_of(MachineSpec), doc="The board and the accelerator.", effect="cold-restart", reason=""),
    )
    disks: tuple[DiskSpec, ...] = field(
        default=(),
        metadata=key(
            tables_of(DiskSpec, DISK_RULES),
            toml="disk",
            doc="An image and how it is driven (virtio-blk). The guest boots from the first one.",
            identity="path",
            effect="cold-restart",
            reason=NO_HOTPLUG,
        ),
    )
    nics: tuple[NicSpec, ...] = field(
        default=(),
        metadata=key(
            tables_of(NicSpec),
            toml="nic",
            doc="A network device (virtio-net) on a bridge of the host.",
            identity="mac",
            effect="cold-restart",
            reason=NO_HOTPLUG,
        ),
    )
    boot: BootSpec = field(
        factory=BootSpec,
        metadata=key(
            table_of(BootSpec, BOOT_RULES),
            doc="Firmware, or a directly loaded kernel.",
            effect="cold-restart",
            reason="",
        ),
    )
    console: ConsoleSpec = field(
        factory=ConsoleSpec,
        metadata=key(table_of(ConsoleSpec), doc="The serial console and its log.", effect="cold-restart", reason=""),
    )


def nodes_partition_vcpus(spec: VmSpec, place: Place) -> None:
    """Each vCPU is in exactly one guest node."""
    if spec.memory.nodes is None:
        return
    where = place.at("memory", "nodes")
    every = frozenset(range(spec.cpu.vcpus))
    taken: set[int] = set()
    hint = f"share out vCPUs 0 to {spec.cpu.vcpus - 1} among the nodes, each once"
    for index, vcpus in enumerate([node.vcpus for node in spec.memory.nodes]):
        here = where.at(index, "vcpus")
        if vcpus - every:
            unknown = format_cpulist(vcpus - every)
            here.report("node-vcpus", f"{here} names vCPU {unknown}: accepted are 0 to {spec.cpu.vcpus - 1}", hint)
        if vcpus & taken:
            again = format_cpulist(vcpus & taken)
            here.report("node-vcpus", f"{here} names vCPU {again} of an earlier node: accepted is each vCPU once", hint)
        taken |= vcpus
    if every - taken:
        message = f"vCPU {format_cpulist(every - taken)} is in no guest node of memory.nodes: accepted is each vCPU once"
        where.report("node-vcpus", message, hint)


def disks_differ(spec: VmSpec, place: Place) -> None:
    """An image is attached once."""
    _no_duplicates(sound(spec.disks, lambda entry: entry.path), place.at("disk"), "path", "duplicate-disk")


def macs_differ(spec: VmSpec, place: Place) -> None:
    """Two nics of one VM never share a MAC address."""
    _no_duplicates(sound(spec.nics, lambda entry: entry.mac), place.at("nic"), "mac", "duplicate-mac")


def taps_differ(spec: VmSpec, place: Place) -> None:
    """Two nics of one VM never share a tap."""
    _no_duplicates(sound(spec.nics, lambda entry: entry.tap), place.at("nic"), "tap", "duplicate-tap")


def _no_duplicates(values: list[tuple[int, str]] | list[tuple[int, str | None]], place: Place, name: str, code: str) -> None:
    first_index: dict[str, int] = {}
    for index, value in values:
        if value is None:
            continue
        if value in first_index:
            here = place.at(index, name)
            first = place.at(first_index[value])
            message = f"{here} = {quoted(value)} is that of {first} already: accepted is each {name} once"
            here.report(code, message, f"write another {name}, or remove one of the two")
        else:
            first_index[value] = index


RULES = (nodes_partition_vcpus, disks_differ, macs_differ, taps_differ)
