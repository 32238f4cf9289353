"""The made-up machines of tests/hosts.

`python -m tests.host.machines` rewrites tests/hosts/*.json from the table at the end; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from qsup.host.record import format_tree
from tests.host.synthesize import CPU, HOSTS_DIR, NET, NODE, Machine, Pcpu, tree_of


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


def hybrid_unnamed() -> Machine:
    """AMD: 4 cores and 8 dense ones, all with SMT, of which the kernel tells nothing but how fast they may run; 2 L3 groups.

    The fast ones differ a little (preferred cores).
    """
    fast = {0: 5_150_000, 1: 5_150_000, 2: 5_050_000, 3: 4_950_000}
    pcpus = [
        Pcpu(
            pcpu=thread * 12 + core,
            node=0,
            socket=0,
            core_id=core,
            l3=0 if core in fast else 1,
            max_khz=fast.get(core, 3_300_000),
        )
        for thread in range(2)
        for core in range(12)
    ]
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib={0: (65536, 60000)},
        distances={0: (10,)},
        pools={(0, 2048): (8192, 8192)},
        vendor="AuthenticAMD",
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


def xeon_snc() -> Machine:
    """2 sockets of 8 cores with SMT, sub-NUMA clustering 2: 4 nodes, and an L3 that is as wide as the socket.

    With SNC the kernel goes on to tell one L3 for the whole socket: an L3 group spans two nodes.
    """
    pcpus = [
        Pcpu(pcpu=thread * 16 + core, node=core // 4, socket=core // 8, core_id=core % 8, l3=core // 8, max_khz=3_900_000)
        for thread in range(2)
        for core in range(16)
    ]
    nodes = range(4)
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib=dict.fromkeys(nodes, (32768, 27000)),
        distances={a: tuple(10 if a == b else 12 if a // 2 == b // 2 else 21 for b in nodes) for a in nodes},
        pools=_both_sizes(nodes, (2048, 2048), (4, 4)),
    )


def eight_sockets() -> Machine:
    """8 sockets of 4 cores with SMT, a node each, in a glueless mesh: three neighbours at 21, four at 31."""
    pcpus = [
        Pcpu(pcpu=thread * 32 + core, node=core // 4, socket=core // 4, core_id=core % 4, l3=core // 4)
        for thread in range(2)
        for core in range(32)
    ]
    nodes = range(8)
    near = {a: {a ^ 1, a ^ 2, a ^ 4} for a in nodes}
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib=dict.fromkeys(nodes, (65536, 60000)),
        distances={a: tuple(10 if a == b else 21 if b in near[a] else 31 for b in nodes) for a in nodes},
        pools=_both_sizes(nodes, (4096, 3000), (0, 0)),
    )


def uneven_nodes() -> Machine:
    """3 nodes that differ in everything: 4, 8 and 2 cores without SMT, 16, 64 and 4 GiB, far apart by different ways."""
    owners = [0] * 4 + [1] * 8 + [2] * 2
    return Machine(
        pcpus=tuple(Pcpu(pcpu=number, node=node, socket=node, core_id=number, l3=node) for number, node in enumerate(owners)),
        memory_mib={0: (16384, 14000), 1: (65536, 40000), 2: (4096, 3000)},
        distances={0: (10, 16, 22), 1: (16, 10, 28), 2: (22, 28, 10)},
        pools={(0, 2048): (1024, 512), (1, 2048): (8192, 8000), (2, 2048): (0, 0), (1, 1048576): (8, 8)},
    )


def epyc_256() -> Machine:
    """2 sockets of 64 cores with SMT, a node each, L3 groups of 8 cores: 256 pCPUs, 16 L3 groups."""
    pcpus = [
        Pcpu(pcpu=thread * 128 + core, node=core // 64, socket=core // 64, core_id=core % 64, l3=core // 8)
        for thread in range(2)
        for core in range(128)
    ]
    return Machine(
        pcpus=tuple(pcpus),
        memory_mib={0: (524288, 500000), 1: (524288, 500000)},
        distances={0: (10, 32), 1: (32, 10)},
        pools=_both_sizes((0, 1), (32768, 32768), (128, 128)),
        vendor="AuthenticAMD",
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


def dies_devices() -> dict[str, str]:
    """2 sockets of 2 dies, each with an L3 of its own; devices, a cpuset partition and somebody else's hugepages on it.

    br0 is above a bond of two NICs on node 1, /srv on an NVMe drive of node 0. pCPUs 14 and 15 are isolated by a cpuset
    partition, 15 is nohz_full. Half of node 0's pages are taken by somebody.
    """
    pcpus = [
        Pcpu(pcpu=number, node=number // 8, socket=number // 8, die=number // 4 % 2, core_id=number % 4, l3=number // 4)
        for number in range(16)
    ]
    machine = Machine(
        pcpus=tuple(pcpus),
        memory_mib={0: (32768, 24000), 1: (32768, 24000)},
        distances={0: (10, 20), 1: (20, 10)},
        pools={(0, 2048): (2048, 1024), (1, 2048): (2048, 2048)},
        nohz_full=frozenset({15}),
    )
    return tree_of(machine) | {
        "/sys/fs/cgroup/cpuset.cpus.isolated": "14-15\n",
        f"{NET}/br0/bridge/": "",
        f"{NET}/br0/mtu": "9000\n",
        f"{NET}/br0/lower_bond0/": "",
        f"{NET}/bond0/lower_eth0/": "",
        f"{NET}/bond0/lower_eth1/": "",
        f"{NET}/eth0/device/numa_node": "1\n",
        f"{NET}/eth1/device/numa_node": "1\n",
        "/proc/self/mountinfo": "0 0 259:2 / /srv - - - - -\n",
        "/sys/class/block/nvme0n1/dev": "259:0\n",
        "/sys/dev/block/259:0/numa_node": "0\n",
        "/sys/dev/block/259:2/numa_node": "0\n",
    }


HOSTS: Mapping[str, Callable[[], dict[str, str]]] = {
    "two-sockets-smt": lambda: tree_of(two_sockets_smt()),
    "epyc-nps4": lambda: tree_of(epyc_nps4()),
    "hybrid": lambda: tree_of(hybrid()),
    "hybrid-unnamed": lambda: tree_of(hybrid_unnamed()),
    "offline-isolated": lambda: tree_of(offline_isolated()),
    "memory-only-node": lambda: tree_of(memory_only_node()),
    "xeon-snc": lambda: tree_of(xeon_snc()),
    "eight-sockets": lambda: tree_of(eight_sockets()),
    "uneven-nodes": lambda: tree_of(uneven_nodes()),
    "epyc-256": lambda: tree_of(epyc_256()),
    "dies-devices": dies_devices,
    "malformed": malformed,
}


if __name__ == "__main__":
    for name, make in HOSTS.items():
        (HOSTS_DIR / f"{name}.json").write_text(format_tree(make()), encoding="utf-8")
