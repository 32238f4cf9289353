"""What the readers had to assume of a machine because its files are missing, empty or malformed: docs/host.md in sentences.

`topology.py` makes the assumptions; here they are told to people who look at a machine, recorded ones above all.
"""

from __future__ import annotations

from collections.abc import Iterable

from qsup.cpuset import format_cpulist
from qsup.host.sysfs import CPU_DIR, NODE_DIR, list_dir, numbered, read_cpulist, read_text
from qsup.host.topology import node_numbers, online_pcpus, read_pcpus


def assumptions_of(root: str = "/") -> tuple[str, ...]:
    """One sentence for each assumption; none on a machine whose kernel tells everything.

    Touches:
        /sys/devices/system/cpu, /sys/devices/system/node, /proc/meminfo.
    """
    online = sorted(online_pcpus(root))
    nodes = node_numbers(root)
    return (*_of_lists(root), *_of_pcpus(root, online), *_of_nodes(root, nodes))


def _of_lists(root: str) -> Iterable[str]:
    if not (read_cpulist(root, f"{CPU_DIR}/present") or read_cpulist(root, f"{CPU_DIR}/online")):
        yield "no list of pCPUs is told: what directories and /proc/cpuinfo name, else one pCPU"
    elif not read_cpulist(root, f"{CPU_DIR}/online"):
        yield "no list of online pCPUs is told: all present ones are online"
    listed = numbered(list_dir(root, NODE_DIR), "node")
    if not listed:
        yield "no NUMA nodes are told: one node, number 0"
    elif absent := (read_cpulist(root, f"{NODE_DIR}/online") or frozenset()).difference(listed):
        yield f"the NUMA nodes {format_cpulist(absent)} are told and have no directory: they are not there"


def _of_pcpus(root: str, online: Iterable[int]) -> Iterable[str]:
    alone = [pcpu for pcpu in online if not _siblings_told(root, pcpu)]
    if alone:
        yield f"no siblings are told of pCPUs {format_cpulist(alone)}: by core_id, else a core of its own each"
    bare = [pcpu.pcpu for pcpu in read_pcpus(root) if pcpu.online and pcpu.l3 is None]
    if bare:
        yield f"no L3 cache is told of pCPUs {format_cpulist(bare)}"


def _siblings_told(root: str, pcpu: int) -> bool:
    lists = (read_cpulist(root, f"{CPU_DIR}/cpu{pcpu}/topology/{name}") for name in ("core_cpus_list", "thread_siblings_list"))
    return any(pcpu in (told or ()) for told in lists)


def _of_nodes(root: str, nodes: tuple[int, ...]) -> Iterable[str]:
    for node in nodes:
        words = (read_text(root, f"{NODE_DIR}/node{node}/distance") or "").split()
        if len(nodes) > 1 and (len(words) != len(nodes) or not all(word.isdigit() for word in words)):
            yield f"the distances of node {node} are not told: 10 to itself, 20 to others"
        path = f"{NODE_DIR}/node{node}/meminfo" if len(nodes) > 1 else "/proc/meminfo"
        if "MemTotal:" not in (text := read_text(root, path) or "") or not any(map(str.isdigit, text)):
            yield f"the memory of node {node} is not told: 0 bytes"
