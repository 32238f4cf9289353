"""Strategies for whole VM specs, and their TOML text written from the schema."""

from __future__ import annotations

import string
from typing import Any, get_args

from hypothesis import strategies as st

from qsup.bytesize import GIB, KIB, MIB
from qsup.cpuset import HIGHEST_PCPU
from qsup.spec.boot import BootSpec
from qsup.spec.console import ConsoleSpec
from qsup.spec.cpu import CpuSpec, Placement, Smt, SupportSet
from qsup.spec.disk import DIRECT_CACHE_MODES, AioMode, CacheMode, DiscardMode, DiskSpec, ImageFormat
from qsup.spec.machine import Accel, MachineSpec
from qsup.spec.memory import BasePages, GuestNodeSpec, MemoryPolicy, MemorySpec
from qsup.spec.nic import NicSpec
from qsup.spec.schema import keys_of
from qsup.spec.tables import toml_pairs
from qsup.spec.vm import RestartPolicy, TroublePolicy, VmSectionSpec
from qsup.spec.vmspec import VmSpec

NAME_CHARACTERS = string.ascii_letters + string.digits
PLAIN_TEXT = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))


def words(literal: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(literal))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def cpulists(highest: int = HIGHEST_PCPU) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.integers(0, highest), min_size=1, max_size=6)


paths = st.lists(
    st.text(PLAIN_TEXT.filter(lambda char: char != "/"), min_size=1, max_size=12).filter(lambda part: part not in (".", "..")),
    min_size=1,
    max_size=4,
).map(lambda parts: "/" + "/".join(parts))

interface_names = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/:%"), min_size=1, max_size=15
).filter(lambda name: name not in (".", ".."))

macs = st.lists(st.integers(0, 255), min_size=6, max_size=6).map(
    lambda octets: ":".join(f"{octet:02x}" for octet in [octets[0] & 0xFE | 2, *octets[1:]])
)

sections = st.builds(
    VmSectionSpec,
    description=st.text(PLAIN_TEXT, max_size=50),
    autostart=st.booleans(),
    restart=words(RestartPolicy),
    restart_delay_s=st.floats(0, 60),
    restart_delay_max_s=st.floats(60, 86400),
    start_limit=st.integers(1, 1000),
    start_limit_interval_s=st.floats(1, 604800),
    grace_period_s=st.integers(0, 86400).map(float),
    on_panic=words(TroublePolicy),
    on_io_error=words(TroublePolicy),
)


@st.composite
def cpus(draw: st.DrawFn) -> CpuSpec:
    sockets, cores, threads = draw(st.integers(1, 4)), draw(st.integers(1, 8)), draw(st.integers(1, 8))
    vcpus = sockets * cores * threads
    placement = draw(words(Placement))
    # Two pCPUs or more in each pin: the same single one twice would be refused.
    pins = st.lists(st.frozensets(st.integers(0, HIGHEST_PCPU), min_size=2, max_size=4), min_size=vcpus, max_size=vcpus)
    owns = placement in ("dedicated", "isolated")
    guest_cores = st.frozensets(st.integers(0, vcpus // threads - 1), min_size=1, max_size=max(1, vcpus // threads - 1))
    some = draw(guest_cores) if owns and vcpus > threads else frozenset[int]()
    return CpuSpec(
        vcpus=vcpus,
        sockets=draw(st.sampled_from((None, sockets))),
        cores=draw(st.sampled_from((None, cores))),
        threads=threads,
        model=draw(st.sampled_from((None, "host", "EPYC-v3,-svm", "qemu64,+x2apic,vendor=GenuineIntel"))),
        placement=placement,
        pin=tuple(draw(pins)) if placement == "pinned" else None,
        smt=draw(maybe(st.sampled_from(smts(placement, threads)))) if owns else None,
        shared_vcpus=frozenset(core * threads + thread for core in some for thread in range(threads)) or None,
        realtime_priority=None if placement == "shared" else draw(maybe(st.integers(1, 98))),
        emulator=draw(maybe(cpulists() | st.sampled_from(("own", "beside")))),
        iothreads=draw(words(SupportSet)),
        vhost=draw(words(SupportSet)),
    )


def smts(placement: Placement, threads: int) -> tuple[Smt, ...]:
    if placement == "isolated":
        return ("isolate",)
    return ("prefer", "isolate", "require") if threads > 1 else ("prefer", "isolate")


@st.composite
def memories(draw: st.DrawFn, vcpus: int) -> MemorySpec:
    page_bytes = draw(st.sampled_from((None, 2 * MIB, GIB)))
    nodes = draw(maybe(guest_nodes(vcpus, page_bytes)))
    return MemorySpec(
        size_bytes=sum(node.size_bytes for node in nodes) if nodes else draw(sizes_on(page_bytes)),
        hugepages_bytes=page_bytes,
        prealloc=draw(maybe(st.booleans())),
        nodes=nodes,
        host_nodes=None if nodes else draw(maybe(cpulists(1023))),
        policy=draw(words(MemoryPolicy)),
    )


def sizes_on(page_bytes: int | None) -> st.SearchStrategy[int]:
    return st.integers(1, 64).map(lambda count: count * (page_bytes or 256 * 4 * KIB))


@st.composite
def guest_nodes(draw: st.DrawFn, vcpus: int, page_bytes: int | None) -> tuple[GuestNodeSpec, ...]:
    owner = draw(st.lists(st.integers(0, 3), min_size=vcpus, max_size=vcpus))
    shares = [frozenset(index for index in range(vcpus) if owner[index] == node) for node in range(4)]
    return tuple(draw(guest_node(share, page_bytes)) for share in shares if share)


@st.composite
def guest_node(draw: st.DrawFn, vcpus: frozenset[int], page_bytes: int | None) -> GuestNodeSpec:
    own: int | BasePages | None = draw(st.sampled_from((None, None, "off", 2 * MIB, GIB)))
    in_force = page_bytes if own is None else None if own == "off" else own
    return GuestNodeSpec(vcpus, draw(sizes_on(in_force)), draw(maybe(cpulists(1023))), own)


@st.composite
def disks(draw: st.DrawFn) -> DiskSpec:
    cache = draw(words(CacheMode))
    modes = get_args(AioMode) if cache in DIRECT_CACHE_MODES else ("threads", "io_uring")
    return DiskSpec(
        path=draw(paths),
        format=draw(words(ImageFormat)),
        readonly=draw(st.booleans()),
        cache=cache,
        aio=draw(maybe(st.sampled_from(modes))),
        discard=draw(words(DiscardMode)),
        iothread=draw(st.booleans()),
        serial=draw(maybe(st.text(NAME_CHARACTERS + "._-", min_size=1, max_size=20))),
    )


nics = st.builds(
    NicSpec,
    bridge=interface_names,
    mac=maybe(macs),
    queues=st.integers(1, 256),
    mtu=maybe(st.integers(68, 65535)),
    vhost=maybe(st.booleans()),
    tap=maybe(interface_names),
)


@st.composite
def boots(draw: st.DrawFn) -> BootSpec:
    uefi, kernel = draw(st.booleans()), draw(maybe(paths))
    return BootSpec(
        bios=None if uefi else draw(maybe(paths)),
        uefi=uefi,
        uefi_code=draw(maybe(paths)) if uefi else None,
        uefi_vars=draw(maybe(paths)) if uefi else None,
        kernel=kernel,
        initrd=draw(maybe(paths)) if kernel else None,
        cmdline=draw(maybe(st.text(PLAIN_TEXT, max_size=60))) if kernel else None,
    )


@st.composite
def vm_specs(draw: st.DrawFn) -> VmSpec:
    cpu = draw(cpus())
    return VmSpec(
        name=draw(st.text(NAME_CHARACTERS, min_size=1, max_size=48)),
        cpu=cpu,
        memory=draw(memories(cpu.vcpus)),
        vm=draw(sections),
        machine=draw(st.builds(MachineSpec, type=st.sampled_from(("q35", "pc", "pc-q35-7.2")), accel=words(Accel))),
        disks=tuple(draw(st.lists(disks(), max_size=3, unique_by=lambda disk: disk.path))),
        nics=tuple(draw(st.lists(nics, max_size=3, unique_by=(lambda nic: nic.mac or nic, lambda nic: nic.tap or nic)))),
        boot=draw(boots()),
        console=draw(st.builds(ConsoleSpec, serial=st.booleans(), log_bytes=st.integers(64 * KIB, GIB))),
    )


def toml_of(spec: VmSpec) -> str:
    """A file that asks for the spec, every key that is not None written out."""
    parts: list[str] = []
    for field in keys_of(VmSpec):
        value = getattr(spec, field.name)
        if isinstance(value, tuple):
            parts.extend(f"[[{field.toml}]]\n{_lines(entry)}" for entry in value)
        else:
            parts.append(f"[{field.toml}]\n{_lines(value)}")
    return "\n".join(parts)


def _lines(section: object) -> str:
    return "".join(f"{name} = {value}\n" for name, value in toml_pairs(section))
