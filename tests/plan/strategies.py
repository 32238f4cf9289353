"""Random hosts and random VMs for the property tests."""

from __future__ import annotations

from attrs import evolve
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.plan.host_facts import HostFacts, ImageFacts
from qsup.plan.policy import HostPolicy
from qsup.spec.cpu import CpuSpec, Smt, SupportSet
from qsup.spec.disk import DiskSpec
from qsup.spec.memory import BasePages, GuestNodeSpec, MemorySpec
from qsup.spec.nic import NicSpec
from qsup.spec.vmspec import VmSpec
from tests.plan.hosts import HUGE_1G, HUGE_2M, build_host, with_bridge, with_images


@st.composite
def hosts(draw: st.DrawFn) -> HostFacts:
    """One to four nodes, SMT or not, with offline and isolated pCPUs and pools; pCPU 0 stays online."""
    nodes = draw(st.integers(1, 4))
    cores = draw(st.integers(1, 6))
    threads = draw(st.sampled_from([1, 2]))
    pcpus = range(1, nodes * cores * threads)
    some = st.frozensets(st.sampled_from(pcpus), max_size=4) if pcpus else st.just(frozenset())
    near = {(one, other): draw(st.sampled_from([12, 21, 32])) for one in range(nodes) for other in range(one)}
    images = [ImageFacts(f"/srv/vm{vm}-{disk}.raw", "raw") for vm in ("", *range(6)) for disk in range(2)]
    host = with_images(
        build_host(
            nodes=nodes,
            cores_per_node=cores,
            threads=threads,
            cores_per_l3=draw(st.integers(1, 4)),
            memory_bytes=draw(st.sampled_from([2 * GIB, 8 * GIB, 32 * GIB])),
            pages_2m=draw(st.sampled_from([0, 100, 512])),
            pages_1g=draw(st.sampled_from([0, 1])),
            offline=draw(some),
            isolated=draw(some),
            distances={**near, **{(other, one): value for (one, other), value in near.items()}},
        ),
        *(evolve(image, host_node=draw(st.sampled_from([None, 0, 1]))) for image in images),
    )
    return with_bridge(host, host_node=draw(st.sampled_from([None, 0, 1])))


def policies() -> st.SearchStrategy[HostPolicy]:
    """Every rule of the settings, each often left at its default."""
    return st.builds(
        HostPolicy,
        housekeeping=st.sampled_from([None, None, frozenset({0}), frozenset({0, 1})]),
        grow_hugepages=st.booleans(),
        reserved_memory_bytes=st.sampled_from([0, 512 * MIB, (GIB, 0)]),
        host_nodes=st.sampled_from([None, None, None, frozenset({0}), frozenset({1, 2})]),
        strategy=st.sampled_from(["pack", "spread"]),
        overcommit=st.sampled_from([None, None, 1, 2]),
        reserved_2mib_pages=st.sampled_from([0, 0, (50, 0)]),
        reserved_1gib_pages=st.sampled_from([0, 1]),
    )


@st.composite
def specs(draw: st.DrawFn, name: str) -> VmSpec:
    """A well-formed VM of any placement; it may still be too much for a host."""
    threads = draw(st.sampled_from([1, 1, 2]))
    vcpus = threads * draw(st.integers(1, 4))
    placement = draw(st.sampled_from(["dedicated", "isolated", "shared", "shared", "pinned"]))
    one_pin = st.frozensets(st.integers(0, 20), min_size=1, max_size=2)
    owns = placement in ("dedicated", "isolated")
    cores = draw(st.frozensets(st.integers(0, vcpus // threads - 1), max_size=vcpus // threads - 1)) if owns else ()
    smts: list[Smt | None] = [None, None, "isolate"]
    if threads > 1 and placement == "dedicated":
        smts.append("require")
    cpu = CpuSpec(
        vcpus=vcpus,
        threads=threads,
        placement=placement,  # type: ignore[arg-type]
        pin=tuple(draw(one_pin) for _ in range(vcpus)) if placement == "pinned" else None,
        smt=draw(st.sampled_from(smts)) if owns else None,
        shared_vcpus=frozenset(core * threads + thread for core in cores for thread in range(threads)) or None,
        realtime_priority=None if placement == "shared" else draw(st.sampled_from([None, None, None, 1])),
        emulator=draw(st.sampled_from([None, None, None, frozenset({0}), "own", "beside"])),
        iothreads=draw(_SETS),
        vhost=draw(_SETS),
    )
    disks = tuple(DiskSpec(f"/srv/{name}-{number}.raw", "raw") for number in range(draw(st.integers(0, 2))))
    return VmSpec(name=name, cpu=cpu, memory=draw(_memories(vcpus)), disks=disks, nics=(NicSpec(bridge="br0"),))


_SETS: st.SearchStrategy[SupportSet] = st.sampled_from(["housekeeping", "housekeeping", "own", "beside"])


@st.composite
def _memories(draw: st.DrawFn, vcpus: int) -> MemorySpec:
    size = draw(st.sampled_from([128 * MIB, GIB, 2 * GIB, 6 * GIB]))
    page = draw(st.sampled_from([None, HUGE_2M, HUGE_1G if size % GIB == 0 else HUGE_2M]))
    policy = draw(st.sampled_from(["bind", "bind", "bind", "preferred", "interleave"]))
    host_nodes = draw(st.sampled_from([None, None, None, frozenset({0}), frozenset({0, 1}), frozenset({1, 2})]))
    nodes = None
    if vcpus > 1 and size % (2 * GIB) == 0 and draw(st.booleans()):
        half = vcpus // 2
        pages: st.SearchStrategy[int | BasePages | None] = st.sampled_from([None, None, "off", HUGE_2M, HUGE_1G])
        one, other = st.sampled_from([None, frozenset({0})]), st.sampled_from([None, frozenset({0}), frozenset({1})])
        nodes = (
            GuestNodeSpec(frozenset(range(half)), size // 2, draw(one), draw(pages)),
            GuestNodeSpec(frozenset(range(half, vcpus)), size // 2, draw(other), draw(pages)),
        )
    return MemorySpec(
        size_bytes=size,
        hugepages_bytes=page,
        nodes=nodes,
        host_nodes=None if nodes else host_nodes,
        policy=policy,  # type: ignore[arg-type]
    )


@st.composite
def batches(draw: st.DrawFn) -> list[VmSpec]:
    """One to six VMs with names of their own."""
    return [draw(specs(f"vm{number}")) for number in range(draw(st.integers(1, 6)))]
