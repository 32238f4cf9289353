"""Makes sysfs trees of machines that are not at hand, in the shape that the kernel gives them. The machines: `machines.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import field, frozen

from qsup.cpuset import format_cpulist

HOSTS_DIR = Path(__file__).parent.parent / "hosts"
CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"
NET = "/sys/class/net"


@frozen
class Pcpu:
    """One pCPU of a made-up machine, with the ids as the kernel would give them; `l3` numbers L3 groups on the whole host."""

    pcpu: int
    node: int
    socket: int
    core_id: int
    die: int = 0
    l3: int | None = 0
    max_khz: int | None = None


@frozen
class Machine:
    """A made-up machine. `memory_mib` maps nodes to (total, free); `pools` maps (node, page KiB) to (total, free)."""

    pcpus: tuple[Pcpu, ...]
    memory_mib: Mapping[int, tuple[int, int]]
    distances: Mapping[int, tuple[int, ...]]
    pools: Mapping[tuple[int, int], tuple[int, int]] = field(factory=dict)
    offline: frozenset[int] = frozenset()
    isolated: frozenset[int] = frozenset()
    nohz_full: frozenset[int] | None = None
    core_types: Mapping[str, frozenset[int]] = field(factory=dict)
    osrelease: str = "6.12.38+deb13-amd64"
    vendor: str = "GenuineIntel"


def tree_of(machine: Machine) -> dict[str, str]:
    """The tree of the machine, as `record_host` would have written it."""
    online = [pcpu for pcpu in machine.pcpus if pcpu.pcpu not in machine.offline]
    tree = {
        f"{CPU}/present": _list(pcpu.pcpu for pcpu in machine.pcpus),
        f"{CPU}/online": _list(pcpu.pcpu for pcpu in online),
        f"{CPU}/isolated": _list(machine.isolated),
        f"{NODE}/online": _list(machine.memory_mib),
        "/proc/sys/kernel/osrelease": machine.osrelease + "\n",
        "/proc/self/status": "CapEff:\t000001ffffffffff\n",
        "/proc/cpuinfo": "".join(f"processor\t: {pcpu.pcpu}\nvendor_id\t: {machine.vendor}\n" for pcpu in online),
        "/dev/kvm": "",
        "/dev/vhost-net": "",
        "/usr/share/OVMF/OVMF_CODE_4M.fd": "",
        "/usr/share/OVMF/OVMF_VARS_4M.fd": "",
    }
    if machine.nohz_full is not None:
        tree[f"{CPU}/nohz_full"] = _list(machine.nohz_full)
    for device, pcpus in machine.core_types.items():
        tree[f"/sys/devices/{device}/cpus"] = _list(pcpus)
    for pcpu in machine.pcpus:
        tree[f"{CPU}/cpu{pcpu.pcpu}/node{pcpu.node}/"] = ""
    for pcpu in online:
        tree.update(_pcpu_files(pcpu, online))
    for node in machine.memory_mib:
        tree.update(_node_files(machine, node, online))
    tree.update(_global_files(machine))
    return dict(sorted(tree.items()))


def _list(numbers: Iterable[int]) -> str:
    return format_cpulist(numbers) + "\n"


def _pcpu_files(pcpu: Pcpu, online: list[Pcpu]) -> dict[str, str]:
    top = f"{CPU}/cpu{pcpu.pcpu}"
    package = [other for other in online if other.socket == pcpu.socket]
    die = [other for other in package if other.die == pcpu.die]
    core = [other for other in die if other.core_id == pcpu.core_id]
    files = {
        f"{top}/topology/physical_package_id": f"{pcpu.socket}\n",
        f"{top}/topology/die_id": f"{pcpu.die}\n",
        f"{top}/topology/core_id": f"{pcpu.core_id}\n",
        f"{top}/topology/package_cpus_list": _list(other.pcpu for other in package),
        f"{top}/topology/die_cpus_list": _list(other.pcpu for other in die),
        f"{top}/topology/core_cpus_list": _list(other.pcpu for other in core),
    }
    if pcpu.l3 is not None:
        files[f"{top}/cache/index3/level"] = "3\n"
        files[f"{top}/cache/index3/shared_cpu_list"] = _list(other.pcpu for other in online if other.l3 == pcpu.l3)
    if pcpu.max_khz is not None:
        files[f"{top}/cpufreq/cpuinfo_max_freq"] = f"{pcpu.max_khz}\n"
    return files


def _node_files(machine: Machine, node: int, online: list[Pcpu]) -> dict[str, str]:
    total, free = machine.memory_mib[node]
    top = f"{NODE}/node{node}"
    files = {
        f"{top}/cpulist": _list(pcpu.pcpu for pcpu in online if pcpu.node == node),
        f"{top}/distance": " ".join(map(str, machine.distances[node])) + "\n",
        f"{top}/meminfo": f"Node {node} MemTotal:       {total << 10} kB\nNode {node} MemFree:        {free << 10} kB\n",
    }
    for (of_node, kib), (pages, free_pages) in machine.pools.items():
        if of_node == node:
            pool = f"{top}/hugepages/hugepages-{kib}kB"
            files[f"{pool}/nr_hugepages"] = f"{pages}\n"
            files[f"{pool}/free_hugepages"] = f"{free_pages}\n"
            files[f"{pool}/surplus_hugepages"] = "0\n"
    return files


def _global_files(machine: Machine) -> dict[str, str]:
    files = {}
    total = sum(total for total, _ in machine.memory_mib.values())
    free = sum(free for _, free in machine.memory_mib.values())
    files["/proc/meminfo"] = (
        f"MemTotal:       {total << 10} kB\nMemFree:        {free << 10} kB\nMemAvailable:   {free << 10} kB\n"
    )
    for kib in {kib for _, kib in machine.pools}:
        pool = f"/sys/kernel/mm/hugepages/hugepages-{kib}kB"
        files[f"{pool}/nr_hugepages"] = f"{sum(pages for (_, of), (pages, _) in machine.pools.items() if of == kib)}\n"
        files[f"{pool}/free_hugepages"] = f"{sum(free for (_, of), (_, free) in machine.pools.items() if of == kib)}\n"
        files[f"{pool}/resv_hugepages"] = "0\n"
    return files
