"""LedgerIndex: who holds which thing, looked up in constant time; kept up to date holding by holding.

Strategy: what a holding claims is computed from its plan alone (`_claims_of`). An index is a fold of claims; adding and
removing one copies the touched tables and leaves the others shared, so an index is as immutable as the ledger it serves.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from attrs import field, frozen

from qsup.plan.holding import Holding
from qsup.plan.vmplan import GuestNodePlan, ImagePlan, VmPlan

Key = TypeVar("Key", bound=Hashable)
Names = tuple[str, ...]


@frozen
class LedgerIndex:
    """Claims of all holdings; a key without a claim is absent.

    `exclusive` pCPUs belong to one VM alone (its own vCPUs', emptied siblings, own support threads'), `pinned` to explicit
    pins, `emulators` to emulator sets that were asked for, `realtime` to vCPUs of real-time priority. `written` and `read` are
    images (`image_keys`). `shared` counts guest nodes with floating vCPUs per tuple of host nodes, `shared_load` their vCPUs
    per host node. `pages_due` and `base_due` are promised and not yet taken, per (host node, page size) in pages and per host
    node in bytes; `growth_due` are the pages by which pools will grow for them.
    """

    exclusive: Mapping[int, Names] = field(factory=dict)
    pinned: Mapping[int, Names] = field(factory=dict)
    emulators: Mapping[int, Names] = field(factory=dict)
    macs: Mapping[str, Names] = field(factory=dict)
    taps: Mapping[str, Names] = field(factory=dict)
    uids: Mapping[int, Names] = field(factory=dict)
    written: Mapping[str, Names] = field(factory=dict)
    read: Mapping[str, Names] = field(factory=dict)
    shared: Mapping[tuple[int, ...], int] = field(factory=dict)
    shared_load: Mapping[int, int] = field(factory=dict)
    pages_due: Mapping[tuple[int, int], int] = field(factory=dict)
    base_due: Mapping[int, int] = field(factory=dict)
    growth_due: Mapping[tuple[int, int], int] = field(factory=dict)
    realtime: Mapping[int, Names] = field(factory=dict)

    def reserved(self, holding: Holding) -> LedgerIndex:
        """The index with this holding added."""
        return self._combined(_claims_of(holding), holding.plan.name, 1)

    def released(self, holding: Holding) -> LedgerIndex:
        """The index without this holding, which must be in it."""
        return self._combined(_claims_of(holding), holding.plan.name, -1)

    def _combined(self, claims: LedgerIndex, name: str, sign: int) -> LedgerIndex:
        named = _add_names if sign > 0 else _drop_names
        return LedgerIndex(
            exclusive=named(self.exclusive, claims.exclusive, name),
            pinned=named(self.pinned, claims.pinned, name),
            emulators=named(self.emulators, claims.emulators, name),
            macs=named(self.macs, claims.macs, name),
            taps=named(self.taps, claims.taps, name),
            uids=named(self.uids, claims.uids, name),
            written=named(self.written, claims.written, name),
            read=named(self.read, claims.read, name),
            shared=_summed(self.shared, claims.shared, sign),
            shared_load=_summed(self.shared_load, claims.shared_load, sign),
            pages_due=_summed(self.pages_due, claims.pages_due, sign),
            base_due=_summed(self.base_due, claims.base_due, sign),
            growth_due=_summed(self.growth_due, claims.growth_due, sign),
            realtime=named(self.realtime, claims.realtime, name),
        )


def index_of(holdings: Iterable[Holding]) -> LedgerIndex:
    """The index of these holdings."""
    index = LedgerIndex()
    for holding in holdings:
        index = index.reserved(holding)
    return index


def exclusive_pcpus(plan: VmPlan) -> frozenset[int]:
    """The pCPUs that belong to this VM alone: of its vCPUs, and of its other threads.

    None of shared vCPUs; of pinned ones where they are real-time, since nobody else would ever run there.
    """
    own = plan.emptied | plan.support_pcpus
    if plan.placement == "shared" or (plan.placement == "pinned" and plan.realtime_priority is None):
        return own
    return own | _standing_pcpus(plan)


def _standing_pcpus(plan: VmPlan) -> frozenset[int]:
    """The pCPUs of the vCPUs that do not float."""
    return frozenset[int]().union(*(vcpu.pin for vcpu in plan.vcpus if vcpu.vcpu_index not in plan.floating))


def pages_due(holding: Holding) -> dict[tuple[int, int], int]:
    """Hugepages promised and not yet taken, per (host node, page size).

    The kernel may take a page from another node of the set than planned, so no more is due than the whole VM still lacks: of
    each size by itself, since no page stands for one of another size.
    """
    planned: dict[tuple[int, int], int] = {}
    for node in holding.plan.guest_nodes:
        for host_node, count in node.pages:
            key = (host_node, node.page_size_bytes)
            planned[key] = planned.get(key, 0) + count
    due: dict[tuple[int, int], int] = {}
    for size in {size for _, size in planned}:
        taken = {key: count for key, count in holding.pages_taken.items() if key[1] == size}
        due |= _due({key: count for key, count in planned.items() if key[1] == size}, taken)
    return due


def base_due(holding: Holding) -> dict[int, int]:
    """Bytes in base pages promised and not yet taken, per host node."""
    planned: dict[int, int] = {}
    for node in holding.plan.guest_nodes:
        for host_node, size_bytes in node.base_bytes or _unsplit_base(node):
            planned[host_node] = planned.get(host_node, 0) + size_bytes
    return _due(planned, holding.base_taken_bytes)


def growth_due(holding: Holding) -> dict[tuple[int, int], int]:
    """Pages by which pools have yet to grow for it; none once they have, though its process has taken nothing yet."""
    if holding.grown or holding.pages_taken or holding.base_taken_bytes:
        return {}
    return {(growth.host_node, growth.page_size_bytes): growth.count for growth in holding.plan.pool_growth}


def _unsplit_base(node: GuestNodePlan) -> tuple[tuple[int, int], ...]:
    if node.hugepages or not node.host_nodes:
        return ()
    return ((node.host_nodes[0], node.size_bytes),)


def _due(planned: Mapping[Key, int], taken: Mapping[Key, int]) -> dict[Key, int]:
    left = max(0, sum(planned.values()) - sum(taken.values()))
    due: dict[Key, int] = {}
    for key, count in planned.items():
        here = min(left, max(0, count - taken.get(key, 0)))
        left -= here
        if here:
            due[key] = here
    return due


def _claims_of(holding: Holding) -> LedgerIndex:
    plan = holding.plan
    own = (plan.name,)
    pinned = frozenset().union(*(vcpu.pin for vcpu in plan.vcpus)) if plan.placement == "pinned" else frozenset()
    return LedgerIndex(
        exclusive=dict.fromkeys(exclusive_pcpus(plan), own),
        pinned=dict.fromkeys(pinned, own),
        emulators=dict.fromkeys(plan.emulator, own) if plan.emulator_asked else {},
        macs={nic.mac: own for nic in plan.nics},
        taps={nic.tap: own for nic in plan.nics},
        uids={} if plan.uid is None else {plan.uid: own},
        written={key: own for image in _images(plan) if not image.readonly for key in image_keys(image)},
        read={key: own for image in _images(plan) if image.readonly for key in image_keys(image)},
        shared=_shared_nodes(plan),
        shared_load=shared_load_of(plan),
        pages_due=pages_due(holding),
        base_due=base_due(holding),
        growth_due=growth_due(holding),
        realtime={} if plan.realtime_priority is None else dict.fromkeys(_standing_pcpus(plan), own),
    )


def image_keys(image: ImagePlan) -> tuple[str, ...]:
    """What an image is claimed by: its path, and the file behind it, which may have other names."""
    return (image.path,) if image.file_id is None else (image.path, image.file_id)


def _images(plan: VmPlan) -> Iterable[ImagePlan]:
    return (image for disk in plan.disks for image in disk.chain)


def _shared_nodes(plan: VmPlan) -> dict[tuple[int, ...], int]:
    counts: dict[tuple[int, ...], int] = {}
    for node in plan.guest_nodes:
        if not plan.floating.isdisjoint(node.vcpus):
            counts[node.host_nodes] = counts.get(node.host_nodes, 0) + 1
    return counts


def shared_load_of(plan: VmPlan) -> dict[int, int]:
    """The VM's floating vCPUs per host node; those of a guest node on several host nodes count on each."""
    load: dict[int, int] = {}
    if not plan.floating:
        return load
    for node in plan.guest_nodes:
        count = len(plan.floating.intersection(node.vcpus))
        for host_node in node.host_nodes if count else ():
            load[host_node] = load.get(host_node, 0) + count
    return load


def _add_names(table: Mapping[Key, Names], claims: Mapping[Key, Names], name: str) -> Mapping[Key, Names]:
    if not claims:
        return table
    return {**table, **{key: tuple(sorted((*table.get(key, ()), name))) for key in claims}}


def _drop_names(table: Mapping[Key, Names], claims: Mapping[Key, Names], name: str) -> Mapping[Key, Names]:
    if not claims:
        return table
    left = dict(table)
    for key in claims:
        rest = tuple(holder for holder in left.pop(key, ()) if holder != name)
        if rest:
            left[key] = rest
    return left


def _summed(table: Mapping[Key, int], claims: Mapping[Key, int], sign: int) -> Mapping[Key, int]:
    if not claims:
        return table
    sums = dict(table)
    for key, count in claims.items():
        total = sums.pop(key, 0) + sign * count
        if total:
            sums[key] = total
    return sums
