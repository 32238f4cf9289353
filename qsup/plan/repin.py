"""Re-pins: what floats follows the pool. It shrinks when a dedicated VM starts and grows when one stops."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from qsup.plan.emulator import floating_set
from qsup.plan.host_facts import HostFacts
from qsup.plan.host_index import HostIndex
from qsup.plan.housekeeping import housekeeping_of
from qsup.plan.ledger import Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.shared_pool import SharedPool
from qsup.plan.vmplan import IothreadPlan, NicPlan, SupportSet, VmPlan


def shared_repins(facts: HostFacts, policy: HostPolicy, ledger: Ledger) -> tuple[VmPlan, ...]:
    """New plans of the VMs whose floating sets differ from what the ledger now leaves them; ordered by name.

    Floating are shared vCPUs, and every emulator, iothread and vhost worker set that qsup chose (on housekeeping pCPUs these
    move on hosts of at most two cores only; beside vCPUs they follow the pool). vCPUs that own their pCPU or are pinned never
    move. Applying the result is stable: the next call returns nothing.
    """
    sets = _FloatingSets(facts.index, policy, ledger)
    renewed = (sets.renewed(ledger.holdings[name].plan) for name in sorted(ledger.holdings))
    return tuple(plan for plan in renewed if plan != ledger.holdings[plan.name].plan)


class _FloatingSets:
    """Masks as a function of the host nodes, each computed once."""

    def __init__(self, host: HostIndex, policy: HostPolicy, ledger: Ledger) -> None:
        self._pool = SharedPool.of(host, policy, ledger.index.exclusive.keys(), ledger.index.pinned.keys())
        self._housekeeping = housekeeping_of(host, policy, ledger.index.exclusive.keys())
        self._masks: dict[tuple[int, ...], frozenset[int]] = {}
        self._sets: dict[tuple[SupportSet, tuple[int, ...]], frozenset[int]] = {}

    def renewed(self, plan: VmPlan) -> VmPlan:
        nodes = tuple(sorted({node for guest in plan.guest_nodes for node in guest.host_nodes}))
        masks = self._masks_of(plan) if plan.floating else {}
        return evolve(
            plan,
            vcpus=tuple(
                vcpu
                if vcpu.vcpu_index not in plan.floating or masks.get(vcpu.guest_node, vcpu.pin) == vcpu.pin
                else evolve(vcpu, pin=masks[vcpu.guest_node])
                for vcpu in plan.vcpus
            ),
            emulator=self._emulator(plan, nodes),
            iothreads=tuple(self._iothread(plan, iothread, nodes) for iothread in plan.iothreads),
            nics=tuple(self._nic(plan, nic, nodes) for nic in plan.nics),
        )

    def _emulator(self, plan: VmPlan, nodes: tuple[int, ...]) -> frozenset[int]:
        if plan.emulator_asked or plan.sets.emulator == "own":
            return plan.emulator
        return self._set("beside", nodes) if plan.sets.emulator == "beside" else self._housekeeping

    def _iothread(self, plan: VmPlan, iothread: IothreadPlan, nodes: tuple[int, ...]) -> IothreadPlan:
        if plan.sets.iothreads == "own":
            return iothread
        pin = self._set(plan.sets.iothreads, iothread.host_nodes or nodes)
        return iothread if iothread.pin == pin else evolve(iothread, pin=pin)

    def _nic(self, plan: VmPlan, nic: NicPlan, nodes: tuple[int, ...]) -> NicPlan:
        if plan.sets.vhost == "own":
            return nic
        pin = self._set(plan.sets.vhost, nic.host_nodes or nodes)
        return nic if nic.worker_pin == pin else evolve(nic, worker_pin=pin)

    def _masks_of(self, plan: VmPlan) -> Mapping[int, frozenset[int]]:
        masks = {guest.guest_node: self._mask(guest.host_nodes) for guest in plan.guest_nodes}
        return {guest_node: mask for guest_node, mask in masks.items() if mask}

    def _mask(self, nodes: tuple[int, ...]) -> frozenset[int]:
        if nodes not in self._masks:
            self._masks[nodes] = self._pool.mask(nodes)
        return self._masks[nodes]

    def _set(self, asked: SupportSet, nodes: tuple[int, ...]) -> frozenset[int]:
        if (asked, nodes) not in self._sets:
            self._sets[asked, nodes] = floating_set(asked, self._pool, self._housekeeping, nodes)
        return self._sets[asked, nodes]
