"""VmSpec: all that one file asks."""

from __future__ import annotations

from attrs import field, frozen

from qsup.spec.boot import BootSpec
from qsup.spec.console import ConsoleSpec
from qsup.spec.cpu import CpuSpec
from qsup.spec.disk import DiskSpec
from qsup.spec.machine import MachineSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.nic import NicSpec
from qsup.spec.vm import VmSectionSpec


@frozen
class VmSpec:
    """A virtual machine as asked; the name is the file's name without `.toml`."""

    name: str
    cpu: CpuSpec
    memory: MemorySpec
    vm: VmSectionSpec = field(factory=VmSectionSpec)
    machine: MachineSpec = field(factory=MachineSpec)
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    boot: BootSpec = field(factory=BootSpec)
    console: ConsoleSpec = field(factory=ConsoleSpec)
