"""Makes sysfs trees of machines that are not at hand, in the shape that the kernel gives them.

`python -m tests.host.synthesize` rewrites tests/hosts/*.json from the table at the end; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.host.record import format_tree

HOSTS_DIR = Path(__file__).parent.parent / "hosts"
CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"


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


def _both_sizes(nodes: Iterable[int], small: tuple[int, int], large: tuple[int, int]) -> dict[tuple[int, int], tuple[int, int]]:
    return {(node, kib): count for node in nodes for kib, count in ((2048, small), (1048576, large))}


def two_sockets_smt() -> Machine:
    """2 sockets of 8 cores with SMT, a node each: a pCPU's sibling is 16 higher, core ids repeat on both sockets."""
    pcpus = [
        Pcpu(pcpu=thread * 16 + socket * 8 + core, node=socket, socket=socket, core_id=core, l3=socket, max_khz=3_700_000)
        for thread in range(2)
        for socket in range(2)
        for core in range(8)
    ]
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib={0: (65536, 30000), 1: (65536, 50000)},
        distances={0: (10, 21), 1: (21, 10)},
        pools=_both_sizes((0, 1), (4096, 4096), (4, 4)),
    )


def epyc_nps4() -> Machine:
    """2 sockets, 4 nodes each (NPS4), 2 L3 groups a node of 4 cores, SMT: 128 pCPUs, 8 nodes, 16 L3 groups."""
    pcpus = [
        Pcpu(
            pcpu=thread * 64 + socket * 32 + core,
            node=socket * 4 + core // 8,
            socket=socket,
            core_id=core,
            l3=socket * 8 + core // 4,
            max_khz=3_400_000,
        )
        for thread in range(2)
        for socket in range(2)
        for core in range(32)
    ]
    nodes = range(8)
    distances = {a: tuple(10 if a == b else 12 if a // 4 == b // 4 else 32 for b in nodes) for a in nodes}
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib=dict.fromkeys(nodes, (32768, 28000)),
        distances=distances,
        pools=_both_sizes(nodes, (1024, 1024), (8, 8)),
        vendor="AuthenticAMD",
    )


def hybrid() -> Machine:
    """A desktop: 4 performance cores with SMT, 8 efficient cores without, one node, one L3."""
    fast = [Pcpu(pcpu=number, node=0, socket=0, core_id=number // 2 * 4, max_khz=5_400_000) for number in range(8)]
    slow = [Pcpu(pcpu=8 + number, node=0, socket=0, core_id=16 + number, max_khz=4_200_000) for number in range(8)]
    return Machine(
        pcpus=(*fast, *slow),
        memory_mib={0: (32768, 20000)},
        distances={0: (10,)},
        pools={(0, 2048): (0, 0)},
        core_types={"cpu_core": frozenset(range(8)), "cpu_atom": frozenset(range(8, 16))},
    )


def offline_isolated() -> Machine:
    """1 socket of 8 cores without SMT: pCPUs 6 and 7 are offline, 2 to 5 isolated, 4 and 5 nohz_full."""
    return Machine(
        pcpus=tuple(Pcpu(pcpu=number, node=0, socket=0, core_id=number) for number in range(8)),
        memory_mib={0: (16384, 12000)},
        distances={0: (10,)},
        pools={(0, 2048): (512, 128)},
        offline=frozenset({6, 7}),
        isolated=frozenset({2, 3, 4, 5}),
        nohz_full=frozenset({4, 5}),
    )


def memory_only_node() -> Machine:
    """2 nodes with pCPUs, node 1 without memory, and node 4 with memory alone (CXL); numbers with gaps."""
    pcpus = [Pcpu(pcpu=number, node=number // 4, socket=0, core_id=number, l3=None) for number in range(8)]
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib={0: (16384, 9000), 1: (0, 0), 4: (65536, 65000)},
        distances={0: (10, 12, 24), 1: (12, 10, 24), 4: (24, 24, 10)},
        pools={(0, 2048): (256, 256), (4, 2048): (0, 0)},
    )


def malformed() -> dict[str, str]:
    """offline-isolated, with files that are empty, cut, contradicting or no numbers at all, as odd kernels give them."""
    tree = tree_of(offline_isolated())
    tree[f"{CPU}/isolated"] = "\n"
    tree[f"{CPU}/nohz_full"] = "  (null)\n"
    tree[f"{CPU}/cpu0/topology/core_cpus_list"] = ""
    tree[f"{CPU}/cpu0/topology/core_id"] = "-1\n"
    tree[f"{CPU}/cpu1/topology/core_cpus_list"] = "5\n"
    tree[f"{CPU}/cpu1/topology/physical_package_id"] = "0x1\n"
    tree[f"{CPU}/cpu2/cache/index3/level"] = "three\n"
    del tree[f"{CPU}/cpu3/cache/index3/shared_cpu_list"]
    tree[f"{CPU}/cpu4/cpufreq/cpuinfo_max_freq"] = "<unknown>\n"
    tree[f"{NODE}/node0/distance"] = "10 20 30\n"
    tree["/proc/meminfo"] = "MemTotal: lots\nMemFree:"
    tree[f"{NODE}/node0/hugepages/hugepages-2048kB/free_hugepages"] = "999999\n"
    tree[f"{NODE}/node0/hugepages/hugepages-largekB/nr_hugepages"] = "1\n"
    tree["/proc/sys/kernel/osrelease"] = "next\n"
    tree["/proc/cpuinfo"] = tree["/proc/cpuinfo"].replace("GenuineIntel", "")
    return tree


HOSTS: Mapping[str, Callable[[], dict[str, str]]] = {
    "two-sockets-smt": lambda: tree_of(two_sockets_smt()),
    "epyc-nps4": lambda: tree_of(epyc_nps4()),
    "hybrid": lambda: tree_of(hybrid()),
    "offline-isolated": lambda: tree_of(offline_isolated()),
    "memory-only-node": lambda: tree_of(memory_only_node()),
    "malformed": malformed,
}


if __name__ == "__main__":
    for name, make in HOSTS.items():
        (HOSTS_DIR / f"{name}.json").write_text(format_tree(make()), encoding="utf-8")
