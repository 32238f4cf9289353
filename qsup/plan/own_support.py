"""Own pCPUs for threads that are not vCPUs: single ones, as near to their memory as any are left after the vCPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from qsup.plan.case import Case
from qsup.plan.core_choice import seat_on
from qsup.plan.cpu_fit import single_room
from qsup.plan.iothreads import iothread_seats, nic_nodes
from qsup.plan.layout import Layout


@frozen
class OwnSupport:
    """What the emulator, each iothread (by id) and each nic's workers (by position) have for themselves; absent: nothing."""

    emulator: frozenset[int] = frozenset()
    iothreads: Mapping[str, frozenset[int]] = field(factory=dict)
    workers: Mapping[int, frozenset[int]] = field(factory=dict)

    @property
    def pcpus(self) -> frozenset[int]:
        """All of them."""
        return self.emulator.union(*self.iothreads.values(), *self.workers.values())


def own_support(case: Case, layout: Layout, taken: frozenset[int]) -> OwnSupport:
    """The own pCPUs that the spec asks for, with `taken` those of the vCPUs; a reason is noted for each that is missing."""
    cpu = case.spec.cpu
    everywhere = tuple(sorted({node for share in layout.shares for node in share.host_nodes}))
    left = _Left(case, taken)
    emulator = left.take("the emulator", everywhere) if cpu.emulator == "own" else frozenset[int]()
    iothreads: dict[str, frozenset[int]] = {}
    workers: dict[int, frozenset[int]] = {}
    if cpu.iothreads == "own":
        for seat in (seat for seats in iothread_seats(case, layout) for seat in seats):
            iothreads[seat.iothread_id] = left.take(f"the iothread {seat.iothread_id}", seat.host_nodes)
    if cpu.vhost == "own":
        for position, nodes in enumerate(nic_nodes(case, layout)):
            workers[position] = left.take(f"the vhost workers of nic {position}", nodes)
    return OwnSupport(emulator, iothreads, workers)


class _Left:
    """The pCPUs that are left, while they are handed out."""

    def __init__(self, case: Case, taken: frozenset[int]) -> None:
        self._case = case
        self._taken = taken

    def take(self, who: str, nodes: Sequence[int]) -> frozenset[int]:
        """One pCPU for `who`; empty with a reason where there is none."""
        room = single_room(self._case, self._taken)
        for node in self._case.host.nearest(nodes):
            _, seat = seat_on(room, node, 1)
            if seat:
                self._taken |= frozenset(seat[0])
                return frozenset(seat[0])
        self._case.notes.refuse(
            "plan.support-short",
            f"{who} asks for a pCPU of its own, and this host has none left",
            needed="1 pCPU",
            available="no pCPU",
            hint='choose "housekeeping" or "beside", ask for fewer vCPUs, or stop a VM that owns pCPUs',
        )
        return frozenset()
