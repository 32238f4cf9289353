"""Writing a spec as TOML and reading it again gives the same spec."""

from __future__ import annotations

from hypothesis import given, settings

from qsup.spec.boot import BootSpec
from qsup.spec.cpu import CpuSpec, topology_of
from qsup.spec.memory import MemorySpec
from qsup.spec.parse import parse_vm
from qsup.spec.vmspec import VmSpec
from tests.spec.generated import toml_of, vm_specs

MINIMAL = '[cpu]\nvcpus = 4\n[memory]\nsize = "8GiB"\n'


@given(vm_specs())
@settings(max_examples=200)
def test_written_spec_is_read_back(spec: VmSpec) -> None:
    assert parse_vm(toml_of(spec), file="vm.toml", name=spec.name) == spec


@given(vm_specs())
@settings(max_examples=100)
def test_topology_always_makes_the_vcpus(spec: VmSpec) -> None:
    sockets, cores, threads = topology_of(spec.cpu)
    assert sockets * cores * threads == spec.cpu.vcpus
    assert sockets == (spec.cpu.sockets or sockets)
    assert cores == (spec.cpu.cores or cores)


def test_short_file_gives_the_defaults() -> None:
    spec = parse_vm(MINIMAL, file="web1.toml", name="web1")
    assert spec == VmSpec("web1", CpuSpec(vcpus=4), MemorySpec(size_bytes=8 << 30))


def test_values_stand_for_what_they_say() -> None:
    text = """
[cpu]
vcpus = 4
placement = "pinned"
pin = ["2", 34, "3,35", "8-11:2"]
emulator = "housekeeping"

[memory]
size = "4GiB"
nodes = "auto"
host_nodes = 1

[[disk]]
path = "/srv/vm/install.iso"
readonly = true

[[disk]]
path = "/dev/vg0/web1"
format = "raw"

[[nic]]
bridge = "br0"
mac = "52:54:00:AB:CD:EF"

[boot]
kernel = "/boot/vmlinuz, with a comma"

[vm]
grace_period_s = 0.5
"""
    spec = parse_vm(text, file="web1.toml", name="web1")
    assert spec.cpu.pin == (frozenset({2}), frozenset({34}), frozenset({3, 35}), frozenset({8, 10}))
    assert spec.cpu.emulator is None
    assert (spec.memory.nodes, spec.memory.host_nodes) == (None, frozenset({1}))
    assert [(disk.path, disk.format) for disk in spec.disks] == [("/srv/vm/install.iso", "raw"), ("/dev/vg0/web1", "raw")]
    assert spec.nics[0].mac == "52:54:00:ab:cd:ef"
    assert spec.boot == BootSpec(kernel="/boot/vmlinuz, with a comma")
    assert spec.vm.grace_period_s == 0.5
