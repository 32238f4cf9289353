"""Which pCPUs of a host node to take for a number of guest cores: the cheapest of a handful of candidates.

Strategy: a candidate is an order of host cores. One candidate for each L3 group that could take the last of the guest cores,
with the roomiest groups before it as far as one group does not suffice; one that takes isolated cores first; and (loose) one
that takes siblings wherever they are. Within an order, guest cores go on siblings first, then whole cores while there are
vCPUs for all of their pCPUs, then cores that somebody else has a part of, then parts of whole ones. What each candidate
costs is counted (`cost.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from qsup.plan.core_room import CoreRoom
from qsup.plan.cost import cores_cost

Seat = tuple[tuple[int, ...], ...]
Cores = Mapping[int, tuple[int, ...]]

_KINDS = 3  # how many of the first figures of a core's kind are looked at


def seat_on(room: CoreRoom, node: int, count: int, *, spread: bool = False) -> tuple[int, Seat]:
    """The cost and the pCPUs of up to `count` guest cores on the node: one tuple a guest core, fewer where it has no more.

    Of equal cost the seat in the fullest L3 groups is taken, or with `spread` in the emptiest; then the lowest pCPUs.
    """
    count = min(count, room.guest_cores(node))
    if count <= 0:
        return 0, ()
    seats = _seats(room, room.free[node], count)
    if room.keeps and room.offered[node] != room.free[node]:
        bolder = _seats(room, room.offered[node], count)
        seats |= {seat for seat in bolder if room.keeps_beside(pcpu for guest_core in seat for pcpu in guest_core)}
    cost, _, seat = min((_cost_of(room, node, seat), _room_beside(room, node, seat, spread), seat) for seat in seats)
    return cost, seat


def _seats(room: CoreRoom, free: Cores, count: int) -> set[Seat]:
    """Candidates. Where there are isolated pCPUs, single vCPUs may take them first, or like the others."""
    tiers = (_KINDS, _KINDS - 1) if room.threads == 1 and room.host.isolated else (_KINDS,)
    return {_filled(room, free, order, count, kinds) for order in _orders(room, free, count) for kinds in tiers}


def _cost_of(room: CoreRoom, node: int, seat: Seat) -> int:
    free = room.offered[node]
    return cores_cost(room.host, seat, free=free, clean=room.clean, whole=room.whole, last=room.host.last_cores)


def _room_beside(room: CoreRoom, node: int, seat: Seat, spread: bool) -> int:
    """pCPUs that stay free in the L3 groups of the seat (negative with `spread`)."""
    l3_of = room.host.l3_of_core
    used = {l3_of[room.host.core_of[pcpu]] for guest_core in seat for pcpu in guest_core}
    left = sum(len(pcpus) for core, pcpus in room.offered[node].items() if l3_of[core] in used)
    return -left if spread else left


def _orders(room: CoreRoom, free: Cores, count: int) -> Iterator[tuple[int, ...]]:
    """Candidates: host cores of the node, best first, enough for all guest cores."""
    groups = _l3_groups(room, free)
    yield from _by_l3(room, free, groups, count)
    if len(groups) > 1 and not room.host.isolated.isdisjoint(pcpu for left in free.values() for pcpu in left):
        yield from _by_l3(room, free, [_isolated_of(room, group) for group in groups], count)
    if room.manner == "loose" and room.threads > 1 and len(groups) > 1:
        paired = [tuple(core for core in group if len(free[core]) >= room.threads) for group in groups]
        yield from _by_l3(room, free, paired, count)


def _l3_groups(room: CoreRoom, free: Cores) -> list[tuple[int, ...]]:
    groups: dict[int, list[int]] = {}
    for core in sorted(free, key=room.host.core_kinds.__getitem__):
        groups.setdefault(room.host.l3_of_core[core], []).append(core)
    return [tuple(cores) for cores in groups.values()]


def _isolated_of(room: CoreRoom, cores: Iterable[int]) -> tuple[int, ...]:
    return tuple(core for core in cores if not room.host.isolated.isdisjoint(room.host.cores[core]))


def _by_l3(room: CoreRoom, free: Cores, groups: Sequence[tuple[int, ...]], count: int) -> Iterator[tuple[int, ...]]:
    """The roomiest groups as long as none takes all that is left; then each that does, followed by all other cores."""
    loose = room.manner == "loose"  # guest cores may lie across groups then: it is single pCPUs that count
    rooms = {group: _room_in(room, [free[core] for core in group], loose) for group in groups if group}
    order: tuple[int, ...] = ()
    left = count * room.threads if loose else count
    while rooms and max(rooms.values()) < left:
        roomiest = max(rooms, key=lambda group: rooms[group])
        left -= rooms.pop(roomiest)
        order += roomiest
    everything = [core for group in _l3_groups(room, free) for core in group]
    for last in [group for group, fits in rooms.items() if fits >= left] or [()]:
        chosen = (*order, *last)
        yield (*chosen, *(core for core in everything if core not in chosen))


def _room_in(room: CoreRoom, offers: Sequence[Sequence[int]], loose: bool) -> int:
    return sum(map(len, offers)) if loose else room.guest_cores_of(offers)


def _filled(room: CoreRoom, cores: Cores, order: Sequence[int], count: int, tiers: int) -> Seat:
    """The first `count` guest cores in this order of host cores, which has room for them; `tiers`: how much kind counts."""
    free = {core: cores[core] for core in order}
    size = room.threads
    if room.whole:
        firsts = [free[core][0] for core in order]
        return tuple(tuple(firsts[at * size : (at + 1) * size]) for at in range(count))
    if size == 1:
        return tuple((pcpu,) for pcpu in _singles(room, free, count, tiers))
    needed, others = _needed(room, free, count * size)
    ranked = sorted(needed, key=room.host.core_kinds.__getitem__)
    paired = [part for core in ranked for part in _parts(free[core], size)][:count]
    placed = {pcpu for part in paired for pcpu in part}
    rest = [pcpu for core in (*needed, *others) for pcpu in free[core] if pcpu not in placed]
    strays = [tuple(rest[at * size : (at + 1) * size]) for at in range(count - len(paired))]
    return (*paired, *strays)


def _needed(room: CoreRoom, free: Cores, vcpus: int) -> tuple[list[int], list[int]]:
    """The cores of the first L3 groups that together offer enough pCPUs, and all others."""
    needed: list[int] = []
    left = vcpus
    for core, pcpus in free.items():
        if left > 0 or room.host.l3_of_core[core] == room.host.l3_of_core[needed[-1]]:
            needed.append(core)
            left -= len(pcpus) // room.threads * room.threads if room.manner == "siblings" else len(pcpus)
        else:
            break
    return needed, list(free)[len(needed) :]


def _parts(pcpus: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [pcpus[start : start + size] for start in range(0, len(pcpus) - size + 1, size)]


def _singles(room: CoreRoom, free: Cores, count: int, tiers: int) -> list[int]:
    """Whole cores while there are vCPUs for all of their pCPUs, then broken ones, then parts of whole ones."""
    taken: list[int] = []
    for tier in _tiers(room, free, count, tiers):
        whole = [core for core in tier if core in room.clean and len(free[core]) == len(room.host.cores[core])]
        rest: list[int] = []
        for core in sorted(whole, key=lambda core: -len(free[core])):
            (taken if len(free[core]) <= count - len(taken) else rest).extend(free[core])
        taken += [pcpu for core in tier if core not in whole for pcpu in free[core]]
        taken += rest
        if len(taken) >= count:
            break
    return taken[:count]


def _tiers(room: CoreRoom, free: Cores, count: int, tiers: int) -> Iterator[list[int]]:
    """The cores that the order needs for `count` vCPUs, then the rest; in each those of one kind together, best first."""
    for cores in _needed(room, free, count):
        kinds: dict[tuple[int | bool, ...], list[int]] = {}
        for core in cores:
            kinds.setdefault(room.host.core_kinds[core][:tiers], []).append(core)
        for kind in sorted(kinds):
            yield kinds[kind]
