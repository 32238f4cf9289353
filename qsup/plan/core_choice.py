"""Which pCPUs of a host node to take for a number of guest cores: the cheapest of a handful of candidates.

Strategy: a candidate is an order of host cores. One candidate for each L3 group that could take the last of the guest cores,
with the roomiest groups before it as far as one group does not suffice; one that takes isolated cores first; and (loose) one
that takes siblings wherever they are. Of groups that look alike the first stands for all. Within an order, guest cores go on
siblings first, then whole cores while there are vCPUs for all of their pCPUs, then cores that somebody else has a part of,
then parts of whole ones. What each candidate costs is counted (`cost.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from qsup.plan.core_room import CoreRoom, Cores, Seat
from qsup.plan.cost import cores_cost

_KINDS = 3  # how many of the first figures of a core's kind are looked at


def seat_on(room: CoreRoom, node: int, count: int, *, spread: bool = False) -> tuple[int, Seat]:
    """The cost and the pCPUs of up to `count` guest cores on the node: one tuple a guest core, fewer where it has no more.

    Of equal cost the seat in the fullest L3 groups is taken, or with `spread` in the emptiest; then the lowest pCPUs.
    """
    count = min(count, room.guest_cores(node))
    if count <= 0:
        return 0, ()
    key = (node, count, spread)
    if key not in room.seats:
        room.seats[key] = _cheapest(room, node, count, spread)
    return room.seats[key]


def _cheapest(room: CoreRoom, node: int, count: int, spread: bool) -> tuple[int, Seat]:
    seats = _seats(room, room.free[node], count)
    if room.keeps and room.offered[node] != room.free[node]:
        bolder = _seats(room, room.offered[node], count)
        seats |= {seat for seat in bolder if room.keeps_beside(pcpu for guest_core in seat for pcpu in guest_core)}
    if len(seats) == 1:
        (seat,) = seats
        return _cost_of(room, node, seat), seat
    cost, _, seat = min((_cost_of(room, node, seat), _room_beside(room, node, seat, spread), seat) for seat in seats)
    return cost, seat


def _seats(room: CoreRoom, free: Cores, count: int) -> set[Seat]:
    """Candidates. Where there are isolated pCPUs, single vCPUs may take them first, or like the others."""
    tiers = (_KINDS, _KINDS - 1) if room.threads == 1 and room.host.isolated else (_KINDS,)
    groups = _l3_groups(room, free)
    everything = [core for group in groups for core in group]
    seats: set[Seat] = set()
    for first in _orders(room, free, groups, count):
        chosen = frozenset(first)
        for kinds in tiers:
            order = chain(first, (core for core in everything if core not in chosen))
            seats.add(_filled(room, free, order, count, kinds))
    return seats


def _cost_of(room: CoreRoom, node: int, seat: Seat) -> int:
    free = room.offered[node]
    return cores_cost(room.host, seat, free=free, clean=room.clean, whole=room.whole, last=room.host.last_cores)


def _room_beside(room: CoreRoom, node: int, seat: Seat, spread: bool) -> int:
    """pCPUs that stay free in the L3 groups of the seat (negative with `spread`)."""
    host = room.host
    left = sum(room.l3_rooms[node, l3] for l3 in {host.l3_of_core[host.core_of[pcpu]] for part in seat for pcpu in part})
    return -left if spread else left


def _orders(room: CoreRoom, free: Cores, groups: Sequence[tuple[int, ...]], count: int) -> Iterator[tuple[int, ...]]:
    """Candidates: host cores of the node, best first; those that are not named follow."""
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
    """The roomiest groups as long as none takes all that is left; then each that does."""
    loose = room.manner == "loose"  # guest cores may lie across groups then: it is single pCPUs that count
    rooms = {group: _room_in(room, [free[core] for core in group], loose) for group in groups if group}
    order: tuple[int, ...] = ()
    left = count * room.threads if loose else count
    while rooms and max(rooms.values()) < left:
        roomiest = max(rooms, key=lambda group: rooms[group])
        left -= rooms.pop(roomiest)
        order += roomiest
    for last in _unlike(room, free, [group for group, fits in rooms.items() if fits >= left]) or [()]:
        yield (*order, *last)


def _unlike(room: CoreRoom, free: Cores, groups: Sequence[tuple[int, ...]]) -> Sequence[tuple[int, ...]]:
    """The groups without those that differ from an earlier one in nothing but their numbers."""
    if len(groups) < 2:
        return groups
    host = room.host

    def look(core: int) -> tuple[object, ...]:
        isolated = tuple(pcpu in host.isolated for pcpu in free[core]) if host.isolated else ()
        return (len(free[core]), len(host.cores[core]), core in room.clean, host.core_kinds[core][:-1], isolated)

    first: dict[tuple[object, ...], tuple[int, ...]] = {}
    for group in groups:
        first.setdefault(tuple(map(look, group)), group)
    return list(first.values())


def _room_in(room: CoreRoom, offers: Sequence[Sequence[int]], loose: bool) -> int:
    return sum(map(len, offers)) if loose else room.guest_cores_of(offers)


def _filled(room: CoreRoom, free: Cores, order: Iterator[int], count: int, tiers: int) -> Seat:
    """The first `count` guest cores in this order of host cores, which has room for them; `tiers`: how much kind counts."""
    size = room.threads
    if room.whole:
        firsts = [free[core][0] for _, core in zip(range(count * size), order, strict=False)]
        return tuple(tuple(firsts[at * size : (at + 1) * size]) for at in range(count))
    needed, others = _needed(room, free, order, count * size)
    if size == 1:
        return tuple((pcpu,) for pcpu in _singles(room, free, needed, others, count, tiers))
    ranked = sorted(needed, key=room.host.core_kinds.__getitem__)
    paired = [part for core in ranked for part in _parts(free[core], size)][:count]
    if len(paired) == count:
        return tuple(paired)
    placed = {pcpu for part in paired for pcpu in part}
    rest = [pcpu for core in (*needed, *others) for pcpu in free[core] if pcpu not in placed]
    strays = [tuple(rest[at * size : (at + 1) * size]) for at in range(count - len(paired))]
    return (*paired, *strays)


def _needed(room: CoreRoom, free: Cores, order: Iterator[int], vcpus: int) -> tuple[list[int], Iterator[int]]:
    """The cores of the first L3 groups that together offer enough pCPUs, and all others."""
    needed: list[int] = []
    left = vcpus
    for core in order:
        if left <= 0 and room.host.l3_of_core[core] != room.host.l3_of_core[needed[-1]]:
            return needed, chain((core,), order)
        needed.append(core)
        left -= len(free[core]) // room.threads * room.threads if room.manner == "siblings" else len(free[core])
    return needed, order


def _parts(pcpus: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [pcpus[start : start + size] for start in range(0, len(pcpus) - size + 1, size)]


def _singles(
    room: CoreRoom, free: Cores, needed: Sequence[int], others: Iterable[int], count: int, tiers: int
) -> Sequence[int]:
    """Whole cores while there are vCPUs for all of their pCPUs, then broken ones, then parts of whole ones."""
    taken: list[int] = []
    for tier in _tiers(room, needed, others, tiers):
        whole = [core for core in tier if core in room.clean and len(free[core]) == len(room.host.cores[core])]
        rest: list[int] = []
        for core in sorted(whole, key=lambda core: -len(free[core])):
            (taken if len(free[core]) <= count - len(taken) else rest).extend(free[core])
        taken += [pcpu for core in tier if core not in whole for pcpu in free[core]]
        taken += rest
        if len(taken) >= count:
            break
    return taken[:count]


def _tiers(room: CoreRoom, needed: Iterable[int], others: Iterable[int], tiers: int) -> Iterator[list[int]]:
    """The cores that the order needs, then the rest; in each those of one kind together, best first."""
    for cores in (needed, others):
        kinds: dict[tuple[int | bool, ...], list[int]] = {}
        for core in cores:
            kinds.setdefault(room.host.core_kinds[core][:tiers], []).append(core)
        for kind in sorted(kinds):
            yield kinds[kind]
