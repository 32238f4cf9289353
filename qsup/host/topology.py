"""Reads the pCPUs and the NUMA nodes of the machine from sysfs.

Strategy: the lists that the kernel keeps per group (siblings of a core, sharers of an L3) are read once per group, not once
per pCPU, which keeps 512 pCPUs within a few milliseconds. What is missing or malformed is replaced by the assumption
that promises least; docs/host.md lists them. Nothing here raises.

Source: Documentation/ABI/stable/sysfs-devices-system-cpu, sysfs-devices-node; Documentation/admin-guide/cputopology.rst.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping

from attrs import frozen

from qsup.host.pools import read_pools
from qsup.host.sysfs import (
    CPU_DIR,
    NODE_DIR,
    list_dir,
    numbered,
    read_count,
    read_cpulist,
    read_number,
    read_text,
)
from qsup.plan.host_facts import HostNodeFacts, PcpuFacts, PoolFacts

LOCAL_DISTANCE = 10
REMOTE_DISTANCE = 20

_CORE_LISTS = ("topology/core_cpus_list", "topology/thread_siblings_list")
_DIE_LISTS = ("topology/die_cpus_list",)
_SOCKET_LISTS = ("topology/package_cpus_list", "topology/core_siblings_list")
_SLOW_PERCENT = 80
_CORE_TYPES = (("cpu_core", "performance"), ("cpu_atom", "efficient"), ("cpu_lowpower", "efficient"))
_MEMINFO = re.compile(r"(?:Node\s+[0-9]+\s+)?([A-Za-z_()]+):\s+([0-9]{1,15}) kB", re.ASCII)
_PROCESSOR = re.compile(r"^processor\s*:\s*([0-9]{1,4})\s*$", re.ASCII | re.MULTILINE)


@frozen
class _Marks:
    """What the kernel says of sets of pCPUs; `types` maps a pCPU to its core type."""

    online: frozenset[int]
    isolated: frozenset[int]
    nohz_full: frozenset[int]
    types: Mapping[int, str]
    nodes: Mapping[int, int]


def read_pcpus(root: str = "/") -> tuple[PcpuFacts, ...]:
    """All present pCPUs, ascending, never empty.

    Touches:
        /sys/devices/system/cpu, /sys/devices/system/node/node*/cpulist, /sys/devices/cpu_{core,atom,lowpower}/cpus,
        /sys/fs/cgroup/cpuset.cpus.isolated.
    """
    present = _present_pcpus(root)
    marks = _read_marks(root, present)
    online = sorted(marks.online)
    sockets = _ids_of(root, online, _SOCKET_LISTS, "topology/physical_package_id")
    dies = _ids_of(root, online, _DIE_LISTS, "topology/die_id")
    core_keys = _core_keys(root, online, sockets, dies)
    cores = _dense(core_keys, present)
    l3_groups = _dense(_l3_leaders(root, online), ())
    speeds = _max_khz(root, online, core_keys)
    types = marks.types or _types_by_speed(online, speeds)
    return tuple(
        PcpuFacts(
            pcpu=pcpu,
            host_node=marks.nodes[pcpu],
            socket=sockets.get(pcpu, 0),
            die=dies.get(pcpu, 0),
            core=cores[pcpu],
            l3=l3_groups.get(pcpu),
            online=pcpu in marks.online,
            isolated=pcpu in marks.isolated,
            nohz_full=pcpu in marks.nohz_full,
            max_khz=speeds.get(pcpu),
            core_type=types.get(pcpu),
        )
        for pcpu in sorted(present)
    )


def online_pcpus(root: str = "/") -> frozenset[int]:
    """The pCPUs that are online, never empty: as cheap as one small file, for those who ask every second.

    Touches:
        /sys/devices/system/cpu/online.
    """
    return read_cpulist(root, f"{CPU_DIR}/online") or _present_pcpus(root)


def _present_pcpus(root: str) -> frozenset[int]:
    for name in ("present", "online"):
        pcpus = read_cpulist(root, f"{CPU_DIR}/{name}")
        if pcpus:
            return pcpus
    listed = frozenset(pcpu for pcpu in numbered(list_dir(root, CPU_DIR), "cpu") if pcpu < 8192)
    told = frozenset(int(number) for number in _PROCESSOR.findall(read_text(root, "/proc/cpuinfo") or ""))
    return listed or told or frozenset({0})


def _read_marks(root: str, present: frozenset[int]) -> _Marks:
    online = (read_cpulist(root, f"{CPU_DIR}/online") or present) & present
    by_boot = read_cpulist(root, f"{CPU_DIR}/isolated") or frozenset()
    by_cpuset = read_cpulist(root, "/sys/fs/cgroup/cpuset.cpus.isolated") or frozenset()
    types: dict[int, str] = {}
    for device, core_type in _CORE_TYPES:
        types.update(dict.fromkeys(read_cpulist(root, f"/sys/devices/{device}/cpus") or (), core_type))
    return _Marks(
        online=online or present,
        isolated=by_boot | by_cpuset,
        nohz_full=read_cpulist(root, f"{CPU_DIR}/nohz_full") or frozenset(),
        types=types,
        nodes=_nodes_of_pcpus(root, present),
    )


def _nodes_of_pcpus(root: str, present: frozenset[int]) -> dict[int, int]:
    numbers = node_numbers(root)
    nodes: dict[int, int] = {}
    for number in numbers:
        for pcpu in read_cpulist(root, f"{NODE_DIR}/node{number}/cpulist") or ():
            nodes.setdefault(pcpu, number)
    # A node's cpulist names only its online pCPUs; the directory of an offline one still links to its node.
    for pcpu in present - nodes.keys():
        linked = numbered(list_dir(root, f"{CPU_DIR}/cpu{pcpu}"), "node")
        nodes[pcpu] = linked[0] if linked and linked[0] in numbers else numbers[0]
    return nodes


def _leaders(online: Iterable[int], sharers: Callable[[int], frozenset[int] | None]) -> dict[int, int]:
    """Maps each pCPU to the lowest pCPU of its group; `sharers` is asked once a group. Unknown groups are left out."""
    members = tuple(online)
    known = frozenset(members)
    leaders: dict[int, int] = {}
    for pcpu in members:
        if pcpu in leaders:
            continue
        group = sharers(pcpu)
        if group is None or pcpu not in group:
            continue
        for member in (group & known) - leaders.keys():
            leaders[member] = pcpu
    return leaders


def _listed_sharers(root: str, names: tuple[str, ...]) -> Callable[[int], frozenset[int] | None]:
    def sharers(pcpu: int) -> frozenset[int] | None:
        for name in names:
            group = read_cpulist(root, f"{CPU_DIR}/cpu{pcpu}/{name}")
            if group:
                return group
        return None

    return sharers


def _ids_of(root: str, online: Iterable[int], lists: tuple[str, ...], id_name: str) -> dict[int, int]:
    """The kernel's id (socket or die) of each online pCPU, read once a group; 0 where it does not tell."""
    members = tuple(online)
    leaders = _leaders(members, _listed_sharers(root, lists))
    ids: dict[int, int] = {}
    for pcpu in members:
        leader = leaders.get(pcpu, pcpu)
        if leader not in ids:
            ids[leader] = read_count(root, f"{CPU_DIR}/cpu{leader}/{id_name}") or 0
        ids[pcpu] = ids[leader]
    return ids


def _core_keys(root: str, online: Iterable[int], sockets: Mapping[int, int], dies: Mapping[int, int]) -> dict[int, Hashable]:
    """A key per online pCPU that is equal for the siblings of one core and different everywhere else on the host."""
    members = tuple(online)
    leaders = _leaders(members, _listed_sharers(root, _CORE_LISTS))
    keys: dict[int, Hashable] = {}
    for pcpu in members:
        core_id = None if pcpu in leaders else read_number(root, f"{CPU_DIR}/cpu{pcpu}/topology/core_id")
        if pcpu in leaders:
            keys[pcpu] = ("leader", leaders[pcpu])
        elif core_id is not None and core_id >= 0:
            keys[pcpu] = ("id", sockets[pcpu], dies[pcpu], core_id)
        else:
            keys[pcpu] = ("alone", pcpu)
    return keys


def _l3_leaders(root: str, online: Iterable[int]) -> dict[int, int]:
    def sharers(pcpu: int) -> frozenset[int] | None:
        cache = f"{CPU_DIR}/cpu{pcpu}/cache"
        # It is index3 nearly everywhere; the directory is searched only where it is not.
        if read_number(root, f"{cache}/index3/level") == 3:
            return read_cpulist(root, f"{cache}/index3/shared_cpu_list")
        for index in numbered(list_dir(root, cache), "index"):
            if read_number(root, f"{cache}/index{index}/level") == 3:
                return read_cpulist(root, f"{cache}/index{index}/shared_cpu_list")
        return None

    return _leaders(online, sharers)


def _dense(keys: Mapping[int, Hashable], also: Iterable[int]) -> dict[int, int]:
    """Numbers the groups from 0 by their lowest pCPU; each pCPU of `also` without a key gets a number of its own, last."""
    numbers: dict[Hashable, int] = {}
    dense = {pcpu: numbers.setdefault(keys[pcpu], len(numbers)) for pcpu in sorted(keys)}
    for pcpu in sorted(set(also) - keys.keys()):
        dense[pcpu] = numbers.setdefault(("offline", pcpu), len(numbers))
    return dense


def _max_khz(root: str, online: Iterable[int], core_keys: Mapping[int, Hashable]) -> dict[int, int]:
    """The highest frequency, read once a core: siblings share their clock."""
    by_core: dict[Hashable, int | None] = {}
    for pcpu in online:
        key = core_keys[pcpu]
        if key not in by_core:
            by_core[key] = read_count(root, f"{CPU_DIR}/cpu{pcpu}/cpufreq/cpuinfo_max_freq")
    speeds = {pcpu: by_core[core_keys[pcpu]] for pcpu in online}
    return {pcpu: speed for pcpu, speed in speeds.items() if speed}


def _types_by_speed(online: Iterable[int], speeds: Mapping[int, int]) -> dict[int, str]:
    """Core types of a processor whose kernel names none (AMD's dense cores): told apart by how fast they may run.

    None where a speed is not known, or where all are nearly alike: the best cores of one kind differ by some percent.
    """
    if not speeds or any(pcpu not in speeds for pcpu in online):
        return {}
    least = max(speeds.values()) * _SLOW_PERCENT // 100
    if min(speeds.values()) >= least:
        return {}
    return {pcpu: "efficient" if speed < least else "performance" for pcpu, speed in speeds.items()}


def node_numbers(root: str = "/") -> tuple[int, ...]:
    """The online NUMA nodes, ascending; node 0 alone where the kernel has no NUMA. A node without a directory is none."""
    listed = numbered(list_dir(root, NODE_DIR), "node")
    told = read_cpulist(root, f"{NODE_DIR}/online") or frozenset()
    return tuple(number for number in listed if number in told) or listed or (0,)


def read_nodes(root: str = "/") -> tuple[HostNodeFacts, ...]:
    """All online NUMA nodes, ascending, never empty. Nodes without memory have 0 bytes, nodes without pCPUs stand here too.

    Touches:
        /sys/devices/system/node/node*/{meminfo,distance,hugepages}; with one node /proc/meminfo, without NUMA
        /sys/kernel/mm/hugepages.
    """
    numbers = node_numbers(root)
    pools = read_pools(root, numbers)
    return tuple(_read_node(root, number, numbers, pools) for number in numbers)


def _read_node(root: str, number: int, numbers: tuple[int, ...], pools: Mapping[int, tuple[PoolFacts, ...]]) -> HostNodeFacts:
    # With one node, /proc/meminfo has the kernel's own estimate of what is available.
    path = f"{NODE_DIR}/node{number}/meminfo" if len(numbers) > 1 else "/proc/meminfo"
    total, free = _memory_bytes(read_text(root, path) or "")
    return HostNodeFacts(
        host_node=number,
        memory_total_bytes=total,
        memory_free_bytes=free,
        distances=_read_distances(root, number, numbers),
        pools=pools.get(number, ()),
    )


def _memory_bytes(text: str) -> tuple[int, int]:
    """(total, free or reclaimable at once) of a meminfo text; zeros where it says nothing.

    A node has no MemAvailable. As in its own estimate, clean file pages count in full and reclaimable slabs by
    half; shared memory is not among the file pages of the LRU lists.
    """
    kib = {name: int(number) for name, number in _MEMINFO.findall(text)}
    total = kib.get("MemTotal", 0)
    files = kib.get("Active(file)", 0) + kib.get("Inactive(file)", 0)
    free = kib.get("MemFree", 0) + files + kib.get("SReclaimable", 0) // 2
    return total << 10, min(total, kib.get("MemAvailable", free)) << 10


def _read_distances(root: str, number: int, numbers: tuple[int, ...]) -> dict[int, int]:
    words = (read_text(root, f"{NODE_DIR}/node{number}/distance") or "").split()
    known = len(words) == len(numbers) and all(word.isascii() and word.isdigit() and len(word) <= 3 for word in words)
    if known:
        return dict(zip(numbers, map(int, words), strict=True))
    return {other: LOCAL_DISTANCE if other == number else REMOTE_DISTANCE for other in numbers}
