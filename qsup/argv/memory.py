"""[memory]: one backend per guest node, bound to host nodes; preallocation by threads that run there; guest NUMA.

Source: QEMU 7.2, qapi/qom.json (MemoryBackendProperties, ThreadContextProperties), `-numa` in qemu-options.hx.
"""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import JsonValue, json_text, key_values, size_text
from qsup.bytesize import format_byte_size
from qsup.cpuset import format_cpulist
from qsup.plan.vmplan import GuestNodePlan, VmPlan

MOST_PREALLOC_THREADS = 16  # QEMU uses no more (util/oslib-posix.c, MAX_MEM_PREALLOC_THREAD_COUNT)


def options_of_memory(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """-m, the backends, and how the board or the guest nodes use them."""
    options = [Option("-m", f"size={size_text(plan.memory_bytes)}", f"[memory] size = {_size(plan.memory_bytes)}")]
    for node in plan.guest_nodes:
        options += _backend_of(node, caps)
    if len(plan.guest_nodes) == 1:
        memdev = backend_id(plan.guest_nodes[0])
        return [*options, Option("-machine", f"memory-backend={memdev}", "[memory] one guest node: it is all memory")]
    return [*options, *_numa_of(plan)]


def backend_type(node: GuestNodePlan) -> str:
    """The QOM type of the node's backend."""
    return "memory-backend-memfd" if node.hugepages else "memory-backend-ram"


def backend_id(node: GuestNodePlan) -> str:
    """The object id of the node's backend, as query-memdev shows it."""
    return f"mem{node.guest_node}"


def uses_thread_context(node: GuestNodePlan) -> bool:
    """Whether the node's pages are touched in advance, by threads that the plan places."""
    return node.prealloc and bool(node.prealloc_pcpus)


def _backend_of(node: GuestNodePlan, caps: QemuCaps) -> list[Option]:
    options: list[Option] = []
    properties: dict[str, JsonValue] = {
        "qom-type": backend_type(node),
        "id": backend_id(node),
        "size": node.size_bytes,
        "share": node.hugepages,
    }
    if node.hugepages:
        properties |= {"hugetlb": True, "hugetlbsize": node.page_size_bytes}
    if node.host_nodes:
        properties |= {"host-nodes": sorted(node.host_nodes), "policy": node.policy}
    properties["prealloc"] = node.prealloc
    if uses_thread_context(node):
        threads = min(len(node.prealloc_pcpus), MOST_PREALLOC_THREADS)
        properties |= {"prealloc-threads": threads, "prealloc-context": _context_id(node)}
        options.append(_thread_context_of(node))
    return [*options, Option("-object", json_text(properties), _why_backend(node))]


def _thread_context_of(node: GuestNodePlan) -> Option:
    properties: dict[str, JsonValue] = {
        "qom-type": "thread-context",
        "id": _context_id(node),
        "cpu-affinity": sorted(node.prealloc_pcpus),
    }
    pcpus = format_cpulist(node.prealloc_pcpus)
    return Option("-object", json_text(properties), f"[memory] prealloc = true; pages are touched on pCPUs {pcpus}, near them")


def _context_id(node: GuestNodePlan) -> str:
    return f"prealloc{node.guest_node}"


def _why_backend(node: GuestNodePlan) -> str:
    pages = f"[memory] hugepages = {_size(node.page_size_bytes)}" if node.hugepages else "[memory] base pages"
    if not node.host_nodes:
        return f"{pages}, bound to no host node"
    return f"{pages}; policy = {node.policy} on host nodes {format_cpulist(node.host_nodes)}"


def _numa_of(plan: VmPlan) -> list[Option]:
    options = [_guest_node_of(node) for node in plan.guest_nodes]
    for node in plan.guest_nodes:
        for other, distance in enumerate(node.distances):
            if other != node.guest_node:
                value = key_values("dist", ("src", node.guest_node), ("dst", other), ("val", distance))
                options.append(Option("-numa", value, "rule: guest nodes are as far apart as their host nodes"))
    return options


def _guest_node_of(node: GuestNodePlan) -> Option:
    runs = format_cpulist(node.vcpus)
    pairs: list[tuple[str, str | int]] = [("nodeid", node.guest_node)]
    pairs += [("cpus", run) for run in runs.split(",") if run]
    value = key_values("node", *pairs, ("memdev", backend_id(node)))
    return Option("-numa", value, f"[memory] guest node {node.guest_node}: vCPUs {runs or 'none'}, {_size(node.size_bytes)}")


def _size(size_bytes: int) -> str:
    return format_byte_size(size_bytes)
