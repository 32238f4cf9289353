"""Reservations: the one ledger of this daemon. Planning and reserving are one step, so no two VMs get the same pCPU."""

from __future__ import annotations

from collections.abc import Mapping

import trio
from attrs import evolve, frozen

from qsup.errors import Refused
from qsup.host.facts import read_host_facts
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.plan.repin import shared_repins
from qsup.plan.suggest import with_suggestions
from qsup.plan.vmplan import VmPlan
from qsup.process.state_dir import read_guest_record
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.taken_pages import TakenPages


@frozen
class Reservation:
    """A plan that is held, what was recorded of the guest before, and the plans of shared VMs that it changes."""

    plan: VmPlan
    record: GuestRecord | None
    repins: tuple[VmPlan, ...]


class Reservations:
    """Who holds what of this host."""

    def __init__(self, policy: HostPolicy) -> None:
        self._policy = policy
        self._lock = trio.Lock()
        self._pids: dict[str, int] = {}
        self._taken = TakenPages()
        self.ledger = Ledger()

    async def reserve(
        self, spec: VmSpec, machine_aliases: Mapping[str, str], *, disk_queue_threads: bool = False
    ) -> Reservation:
        """Plan the VM on the host as it is now and hold what the plan takes.

        Raises:
            Refused: it does not fit, with what would make it fit; nothing is held.
            InvalidInput: what is recorded of the guest cannot be read.
        """
        async with self._lock:
            # What is taken is read before what is free: pages that are taken in between then count twice, never not at all.
            await self._refresh_taken()
            record, facts = await trio.to_thread.run_sync(self._look, spec)
            others = self.ledger.released(spec.name)
            try:
                plan = place(
                    spec, facts, self._policy, others, record, machine_aliases, disk_queue_threads=disk_queue_threads
                )
            except Refused as error:
                refused = error
            else:
                self.ledger = others.reserved(Holding(plan))
                return Reservation(plan, record, shared_repins(facts, self._policy, self.ledger))
        # The search plans many times: nobody waits for it.
        asked = (spec, facts, self._policy, others, record, machine_aliases)
        raise await trio.to_thread.run_sync(with_suggestions, refused, *asked) from None

    def _look(self, spec: VmSpec) -> tuple[GuestRecord | None, HostFacts]:
        return read_guest_record(self._policy.state_dir, spec.name), read_facts_for(spec)

    async def current(self) -> Ledger:
        """What is held, with the pages that the processes have taken by now, or had when they could last be counted."""
        async with self._lock:
            await self._refresh_taken()
            return self.ledger

    @property
    def all_counted(self) -> bool:
        """Whether the pages of every process could be counted the last time that anybody asked."""
        return not self._taken.uncounted

    def hold(self, plan: VmPlan) -> None:
        """Hold what a recorded plan takes: for adopted VMs, and for plans that a re-pin changed."""
        known = self.ledger.holdings.get(plan.name)
        self.ledger = self.ledger.reserved(Holding(plan, grown=True) if known is None else evolve(known, plan=plan))

    def note_growth(self, name: str) -> None:
        """The pools begin to grow for `name`.

        Order: before they do. Pages that are counted as free and as growth to come would be promised twice; those that are
        neither for a moment are only kept back.
        """
        holding = self.ledger.holdings.get(name)
        if holding is not None:
            self.ledger = self.ledger.reserved(evolve(holding, grown=True))

    def note_process(self, name: str, pid: int) -> None:
        """From now on `pid` takes the pages that the plan of `name` promised."""
        self._pids[name] = pid

    def release(self, name: str) -> None:
        """Nothing is held for `name` any more."""
        self._pids.pop(name, None)
        self.ledger = self.ledger.released(name)

    async def repins(self) -> tuple[VmPlan, ...]:
        """The plans of shared VMs whose pool has shrunk or grown."""
        async with self._lock:
            facts = await trio.to_thread.run_sync(lambda: read_host_facts(bridges=(), images=(), files=()))
            return shared_repins(facts, self._policy, self.ledger)

    async def _refresh_taken(self) -> None:
        holdings = self.ledger.holdings
        pids = {name: pid for name, pid in self._pids.items() if name in holdings and not _all_taken(holdings[name])}
        taken = await self._taken.count(pids.values())
        for name, pid in pids.items():
            holding = self.ledger.holdings.get(name)
            if holding is not None and pid in taken and self._pids.get(name) == pid:
                huge, base = _split(taken[pid])
                self.ledger = self.ledger.reserved(evolve(holding, pages_taken=huge, base_taken_bytes=base))


def _all_taken(holding: Holding) -> bool:
    """True where every promised hugepage is out of the pool: what a process has taken once, it keeps."""
    promised: dict[tuple[int, int], int] = {}
    for node in holding.plan.guest_nodes:
        if not node.hugepages:
            return False
        for host_node, count in node.pages:
            key = (host_node, node.page_size_bytes)
            promised[key] = promised.get(key, 0) + count
    return all(holding.pages_taken.get(key, 0) >= count for key, count in promised.items())


def _split(pages: Mapping[tuple[int, int], int]) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
    huge: dict[tuple[int, int], int] = {}
    base: dict[int, int] = {}
    for (host_node, size_bytes), count in pages.items():
        if size_bytes >= 1 << 21:
            huge[host_node, size_bytes] = count
        else:
            base[host_node] = base.get(host_node, 0) + count * size_bytes
    return huge, base


async def facts_for(spec: VmSpec) -> HostFacts:
    """The host as the plan of this VM needs it, read in a worker thread."""
    return await trio.to_thread.run_sync(read_facts_for, spec)


def read_facts_for(spec: VmSpec) -> HostFacts:
    """The host as the plan of this VM needs it: with its bridges, images and files."""
    boot = spec.boot
    files = [path for path in (boot.bios, boot.kernel, boot.initrd, boot.uefi_code, boot.uefi_vars) if path is not None]
    bridges = [nic.bridge for nic in spec.nics]
    images = [(disk.path, disk.format) for disk in spec.disks]
    return read_host_facts(bridges=bridges, images=images, files=files)
