"""The pins of everything that is not a vCPU: emulator, iothreads, vhost workers.

Strategy: each of the three is on housekeeping pCPUs, on its own ones (`own_support.py`), or beside the vCPUs: on the shared
pool's pCPUs of the VM's host nodes, never on pCPUs that somebody owns. Where the pool has none there, beside is housekeeping.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.housekeeping import housekeeping_of, near
from qsup.plan.own_support import OwnSupport
from qsup.plan.pins import check_written_set
from qsup.plan.shared_pool import SharedPool
from qsup.plan.vmplan import SupportSet
from qsup.plan.wording import names_text, pcpus_text


@frozen
class SupportPlan:
    """`emulator` is the process' pin; those of the others are asked for, with the nodes that they work for. None is empty."""

    case: Case
    pool: SharedPool
    housekeeping: frozenset[int]
    own: OwnSupport
    emulator: frozenset[int]

    def iothread_pin(self, iothread_id: str, nodes: Sequence[int]) -> frozenset[int]:
        """Where an iothread runs."""
        own = self.own.iothreads.get(iothread_id)
        return own or floating_set(self.case.spec.cpu.iothreads, self.pool, self.housekeeping, nodes)

    def worker_pin(self, position: int, nodes: Sequence[int]) -> frozenset[int]:
        """Where the vhost workers of a nic run."""
        own = self.own.workers.get(position)
        return own or floating_set(self.case.spec.cpu.vhost, self.pool, self.housekeeping, nodes)


def floating_set(asked: SupportSet, pool: SharedPool, housekeeping: frozenset[int], nodes: Sequence[int]) -> frozenset[int]:
    """Beside the vCPUs of these nodes: the pool there; else the housekeeping pCPUs on them, or all where there are none."""
    beside = pool.on(nodes) if asked == "beside" else frozenset[int]()
    return beside or near(pool.host, housekeeping, nodes)


def plan_support(
    case: Case, nodes: Sequence[int], vcpu_pcpus: frozenset[int], own_exclusive: frozenset[int], own: OwnSupport
) -> SupportPlan:
    """Sets for QEMU's other threads.

    Args:
        case: the question.
        nodes: the host nodes of the VM's memory.
        vcpu_pcpus: where its vCPUs run.
        own_exclusive: what it takes for itself, `own` included.
        own: what its other threads have been given.
    """
    exclusive = own_exclusive | case.others.exclusive.keys()
    chosen = housekeeping_of(case.host, case.policy, exclusive)
    pool = SharedPool.of(case.host, case.policy, exclusive, case.others.pinned.keys())
    _check_last_resort(case, chosen & exclusive)
    _warn_of_policy(case)
    asked = case.spec.cpu.emulator
    if isinstance(asked, frozenset):
        _check_asked(case, asked, vcpu_pcpus)
        return SupportPlan(case, pool, chosen, own, asked)
    beside = floating_set("beside", pool, chosen, nodes) if asked == "beside" else chosen
    return SupportPlan(case, pool, chosen, own, own.emulator or beside)


def _check_asked(case: Case, asked: frozenset[int], vcpu_pcpus: frozenset[int]) -> None:
    check_written_set(case, asked, "the emulator", "plan.emulator")
    both = asked & vcpu_pcpus
    if both and case.spec.cpu.placement != "shared":
        case.notes.warn(
            "plan.emulator-on-vcpus",
            f"the emulator shares {pcpus_text(both)} with vCPUs of this VM: they will wait for it",
            hint="name other pCPUs, or leave cpu.emulator out: then it runs on housekeeping pCPUs",
            key="cpu.emulator",
        )


def _check_last_resort(case: Case, shared: frozenset[int]) -> None:
    starving = shared & case.others.realtime.keys()
    if starving:
        names = names_text({name for pcpu in starving for name in case.others.realtime[pcpu]})
        case.notes.refuse(
            "plan.realtime-starves",
            f"dedicated VMs would own every pCPU, and QEMU's other threads would share {pcpus_text(starving)} with real-time "
            f"vCPUs ({names}): they would not run there",
            needed="a pCPU that no VM owns",
            available="no pCPU",
            hint=f"give the dedicated VMs one pCPU less, or stop {names}",
        )
    elif shared:
        case.notes.warn(
            "plan.no-housekeeping-left",
            f"dedicated VMs own every pCPU: QEMU's other threads run on {pcpus_text(shared)} all the same",
            hint="give the dedicated VMs one pCPU less",
            key="cpu.placement",
        )


def _warn_of_policy(case: Case) -> None:
    absent = (case.policy.housekeeping or frozenset()) - case.host.online
    if absent:
        case.notes.warn(
            "plan.housekeeping-offline",
            f"place.housekeeping names {pcpus_text(absent)}, not online here",
            hint="correct place.housekeeping in the settings",
        )
