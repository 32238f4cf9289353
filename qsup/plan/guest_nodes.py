"""Guest nodes as written in the file: which host nodes each gets its memory from.

Strategy: nodes with written host nodes first, then by size, the largest first. A node without written ones gets its last
host node where that still fits, else one that no other guest node of this VM uses, the nearest to those in use, else any
that fits. What one guest node takes, the next does not find; where a later one then fits nowhere, the earlier ones take their
next best (guest nodes on different pages compete for different things), a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define

from qsup.bytesize import format_byte_size
from qsup.cpuset import format_cpulist
from qsup.plan.case import Case
from qsup.plan.holders import holders_on
from qsup.plan.layout import Layout, Share, even_parts, room_after, share_falling_over, share_on
from qsup.plan.memory_room import MemoryRoom, NodeRoom
from qsup.plan.memory_search import MemorySearch
from qsup.plan.wording import left_text
from qsup.spec.memory import GuestNodeSpec, MemorySpec, node_hugepages

_MOST_TURNS = 100


@define
class _Left:
    """What is left for the guest nodes still to come: memory, guest cores and floating vCPUs per host node."""

    room: MemoryRoom
    cores: dict[int, int]
    floats: dict[int, int]
    used: list[int]

    def seen_by(self, memory: MemorySpec, node: GuestNodeSpec) -> None:
        """Look at the memory in the pages of this guest node."""
        self.room = self.room.on_pages(node_hugepages(memory, node), node.size_bytes)

    def copy(self) -> _Left:
        """The same, to try something with."""
        return _Left(self.room, dict(self.cores), dict(self.floats), list(self.used))


@define
class _Task:
    """The guest nodes in the order in which they are placed, each with its part of the overhead; how often to turn back."""

    search: MemorySearch
    nodes: tuple[GuestNodeSpec, ...]
    order: list[int]
    overheads: tuple[int, ...]
    turns: int = _MOST_TURNS


def written_layout(search: MemorySearch, nodes: tuple[GuestNodeSpec, ...]) -> Layout | None:
    """The layout of explicit guest nodes; None with a reason for every guest node that cannot be placed."""
    if not _vcpus_covered(search.case, nodes) or not _cores_whole(search, nodes):
        return None
    cores = {node: search.fit.guest_cores(node) for node in search.room.nodes}
    left = _Left(search.room, cores, {node: search.fit.floats_on(node) for node in search.room.nodes}, [])
    order = sorted(range(len(nodes)), key=lambda at: (nodes[at].host_nodes is None, -nodes[at].size_bytes, at))
    task = _Task(search, nodes, order, even_parts(search.overhead_bytes, len(nodes)))
    shares = _all_placed(task, left, 0)
    if shares is None:
        _refuse_each(task, left)
        return None
    return Layout(tuple(shares[position] for position in range(len(nodes))), stray_nodes=())


def _all_placed(task: _Task, left: _Left, done: int) -> dict[int, Share] | None:
    """The guest nodes from the `done`th on, each with its share; None where no way was found to place them all."""
    if done == len(task.order):
        return {}
    position = task.order[done]
    left.seen_by(task.search.case.spec.memory, task.nodes[position])
    for share in _shares(task, left, position):
        after = left.copy()
        _take(task.search, after, share)
        rest = _all_placed(task, after, done + 1)
        if rest is not None:
            return {position: share, **rest}
        task.turns -= 1
        if task.turns <= 0:
            return None
    return None


def _refuse_each(task: _Task, left: _Left) -> None:
    """A reason for every guest node that finds no place beside those before it."""
    for position in task.order:
        left.seen_by(task.search.case.spec.memory, task.nodes[position])
        share = next(_shares(task, left, position), None)
        if share is None:
            _refuse(task.search, left, position, task.nodes[position], task.overheads[position])
        else:
            _take(task.search, left, share)


def _vcpus_covered(case: Case, nodes: tuple[GuestNodeSpec, ...]) -> bool:
    owned = sorted(vcpu for node in nodes for vcpu in node.vcpus)
    if owned == list(range(case.spec.cpu.vcpus)):
        return True
    case.notes.refuse(
        "plan.guest-node-vcpus",
        f"the guest nodes name the vCPUs {format_cpulist(owned) or 'none'}, and the VM has {case.spec.cpu.vcpus}",
        needed=f"each vCPU of 0-{case.spec.cpu.vcpus - 1} in exactly one guest node",
        hint="write each vCPU into one guest node",
    )
    return False


def _cores_whole(search: MemorySearch, nodes: tuple[GuestNodeSpec, ...]) -> bool:
    """Whether no guest core has its threads in two guest nodes: no host has such a core, and no guest kernel expects one."""
    split = [core for core in search.guest_cores if not any(node.vcpus.issuperset(core) for node in nodes)]
    for core in split:
        search.case.notes.refuse(
            "plan.guest-node-splits-core",
            f"the vCPUs {format_cpulist(core)} are threads of one guest core, and lie in different guest nodes",
            needed=f"vCPUs {format_cpulist(core)} in one guest node",
            hint="put the threads of a core into one guest node, or set threads = 1",
        )
    return not split


def _shares(task: _Task, left: _Left, position: int) -> Iterator[Share]:
    """Every way to place one guest node, the best first."""
    search, node = task.search, task.nodes[position]
    vcpus = tuple(sorted(node.vcpus))
    written = tuple(sorted((node.host_nodes or frozenset()) & search.room.nodes.keys()))
    ways = [written] if node.host_nodes is not None else [(one,) for one in _preferred_hosts(search, left, position, vcpus)]
    for hosts in filter(None, ways):
        share = _share(search, left, hosts, vcpus, node.size_bytes, task.overheads[position])
        if share is not None:
            yield share


def _share(
    search: MemorySearch, left: _Left, hosts: tuple[int, ...], vcpus: tuple[int, ...], size_bytes: int, overhead: int
) -> Share | None:
    """Memory on these host nodes, if their pCPUs (where they have any) take the vCPUs as well."""
    if not _cores_fit(search, left, hosts, vcpus):
        return None
    share = share_on(left.room, hosts, vcpus, size_bytes, overhead)
    if share is None and search.case.spec.memory.policy == "preferred":
        distance = search.case.host.distance
        allowed = filter(search.case.policy.allows, left.room.nodes)
        others = sorted(allowed, key=lambda other: (other not in hosts, distance(hosts[0], other), other))
        share = share_falling_over(left.room, others, vcpus, size_bytes, overhead)
        if share is not None and not _cores_fit(search, left, (share.memory[0][0],), vcpus):
            return None  # the asked node gives nothing, and that from which the memory comes has no pCPUs for the vCPUs
    return share


def _cores_fit(search: MemorySearch, left: _Left, hosts: tuple[int, ...], vcpus: tuple[int, ...]) -> bool:
    if search.case.spec.cpu.placement == "pinned" or not search.case.host.pcpus_of(hosts):
        return True
    owned, floating = search.fit.owned_cores(vcpus), search.fit.floating.intersection(vcpus)
    if len(floating) > sum(left.floats.get(node, 0) for node in hosts):
        return False
    return sum(left.cores.get(node, 0) for node in hosts) >= len(owned)


def _preferred_hosts(search: MemorySearch, left: _Left, position: int, vcpus: tuple[int, ...]) -> list[int]:
    """The last one first; nodes without pCPUs last, where there are vCPUs; then those not yet used, pinned to, near, full."""
    record = search.case.record
    last = record.host_nodes[position] if record and position < len(record.host_nodes) else ()
    distance = search.case.host.distance
    pins = search.fit.pinned_nodes
    return sorted(
        (node for node in search.allowed if node in left.room.nodes),
        key=lambda node: (
            (node,) != last,
            bool(vcpus) and node not in search.case.host.node_pcpus,
            node in left.used,
            node not in pins,
            sum(distance(node, used) for used in left.used),
            left.cores.get(node, 0),
            node,
        ),
    )


def _take(search: MemorySearch, left: _Left, share: Share) -> None:
    left.room = room_after(left.room, share)
    left.used.extend(share.host_nodes)
    floating = len(search.fit.floating.intersection(share.vcpus))
    owned = 0 if search.fit.room is None else len(search.fit.owned_cores(share.vcpus))
    for room, needed in ((left.cores, owned), (left.floats, floating)):
        for node in share.host_nodes:
            part = min(needed, room.get(node, 0))
            room[node] = room.get(node, 0) - part
            needed -= part


def _refuse(search: MemorySearch, left: _Left, position: int, node: GuestNodeSpec, overhead: int) -> None:
    hosts = sorted(node.host_nodes) if node.host_nodes is not None else list(search.allowed)
    page = node_hugepages(search.case.spec.memory, node)
    size = format_byte_size(node.size_bytes) + (f" on {format_byte_size(page)} pages" if page else "")
    cores = len(search.fit.topology.guest_cores(node.vcpus))
    for host_node in hosts:
        if host_node not in left.room.nodes:
            continue
        room = _room_text(left.room.nodes[host_node], overhead)
        cores_left = _guest_cores_left(search, left, host_node)
        search.case.notes.refuse(
            "plan.guest-node-short",
            f"guest node {position} needs {size} and {cores} guest cores; host node {host_node} has "
            f"{room} and room for {cores_left} left after the guest nodes before it",
            needed=f"{size} and {cores} guest cores",
            available=f"{room} and {cores_left} guest cores",
            host_node=host_node,
            held_by=() if search.case.notes.brief else holders_on(search.case, host_node, page),
            hint=f"name other host nodes for it, make it smaller, {'use other pages, ' if page else ''}or leave host_nodes out",
        )


def _room_text(room: NodeRoom, overhead: int) -> str:
    if room.hugepages and room.pages is None:
        return f"no pool of {format_byte_size(room.page_size_bytes)} pages"
    return left_text(room.capacity_bytes(overhead))


def _guest_cores_left(search: MemorySearch, left: _Left, host_node: int) -> int:
    if search.fit.room is None and search.case.spec.cpu.placement == "shared":
        return left.floats.get(host_node, 0) // search.fit.topology.threads
    return left.cores.get(host_node, 0)
