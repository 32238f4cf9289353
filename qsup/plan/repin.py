"""Re-pins: what floats follows the pool. It shrinks when a dedicated VM starts and grows when one stops."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from qsup.plan.host_facts import HostFacts
from qsup.plan.host_index import HostIndex
from qsup.plan.housekeeping import housekeeping_of, near
from qsup.plan.ledger import Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.shared_pool import SharedPool
from qsup.plan.vmplan import VmPlan


def shared_repins(facts: HostFacts, policy: HostPolicy, ledger: Ledger) -> tuple[VmPlan, ...]:
    """New plans of the VMs whose floating sets differ from what the ledger now leaves them; ordered by name.

    Floating are the vCPUs of shared VMs, and every emulator, iothread and vhost worker set that qsup chose (these move on
    hosts of at most two cores only). Dedicated, isolated and pinned vCPUs never move. Applying the result is stable: the
    next call returns nothing.
    """
    sets = _FloatingSets(facts.index, policy, ledger)
    renewed = (sets.renewed(ledger.holdings[name].plan) for name in sorted(ledger.holdings))
    return tuple(plan for plan in renewed if plan != ledger.holdings[plan.name].plan)


class _FloatingSets:
    """Masks as a function of the host nodes, each computed once."""

    def __init__(self, host: HostIndex, policy: HostPolicy, ledger: Ledger) -> None:
        self._host = host
        self._pool = SharedPool.of(host, policy, ledger.index.exclusive.keys(), ledger.index.pinned.keys())
        self._housekeeping = housekeeping_of(host, policy, ledger.index.exclusive.keys())
        self._masks: dict[tuple[int, ...], frozenset[int]] = {}
        self._near: dict[tuple[int, ...], frozenset[int]] = {}

    def renewed(self, plan: VmPlan) -> VmPlan:
        support = self._support(tuple(sorted({node for guest in plan.guest_nodes for node in guest.host_nodes})))
        masks = self._masks_of(plan) if plan.placement == "shared" else {}
        return evolve(
            plan,
            vcpus=tuple(
                vcpu if masks.get(vcpu.guest_node, vcpu.pin) == vcpu.pin else evolve(vcpu, pin=masks[vcpu.guest_node])
                for vcpu in plan.vcpus
            ),
            emulator=plan.emulator if plan.emulator_asked else self._housekeeping,
            iothreads=tuple(
                iothread if iothread.pin == support else evolve(iothread, pin=support) for iothread in plan.iothreads
            ),
            nics=tuple(nic if nic.worker_pin == support else evolve(nic, worker_pin=support) for nic in plan.nics),
        )

    def _masks_of(self, plan: VmPlan) -> Mapping[int, frozenset[int]]:
        masks = {guest.guest_node: self._mask(guest.host_nodes) for guest in plan.guest_nodes}
        return {guest_node: mask for guest_node, mask in masks.items() if mask}

    def _mask(self, nodes: tuple[int, ...]) -> frozenset[int]:
        if nodes not in self._masks:
            self._masks[nodes] = self._pool.mask(nodes)
        return self._masks[nodes]

    def _support(self, nodes: tuple[int, ...]) -> frozenset[int]:
        if nodes not in self._near:
            self._near[nodes] = near(self._host, self._housekeeping, nodes)
        return self._near[nodes]
