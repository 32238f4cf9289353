"""Real-time vCPUs: refused where anybody else would have to share their pCPUs.

Strategy: a SCHED_FIFO thread that spins gives its pCPU to no thread of the ordinary scheduler. QEMU's main loop behind a vCPU
never runs, and the guest never boots; a vCPU of another VM stands still. Ordinary waiting is warned of, this is refused.
Own pCPUs of a real-time VM belong to it alone, those of its pins as well: the ledger keeps everybody off from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qsup.plan.case import Case
from qsup.plan.emulator import SupportPlan
from qsup.plan.shared_pool import SharedPool
from qsup.plan.vmplan import IothreadPlan, NicPlan, VcpuPlan
from qsup.plan.wording import names_text, pcpus_text


def realtime_pcpus(case: Case, vcpus: Iterable[VcpuPlan]) -> frozenset[int]:
    """The pCPUs of the VM's real-time vCPUs."""
    return frozenset[int]().union(*(vcpu.pin for vcpu in _realtime(case, vcpus)))


def _realtime(case: Case, vcpus: Iterable[VcpuPlan]) -> list[VcpuPlan]:
    cpu = case.spec.cpu
    if cpu.realtime_priority is None or cpu.placement == "shared":
        return []
    return [vcpu for vcpu in vcpus if vcpu.vcpu_index not in (cpu.shared_vcpus or ())]


def check_realtime(
    case: Case,
    vcpus: Sequence[VcpuPlan],
    support: SupportPlan,
    iothreads: Iterable[IothreadPlan],
    nics: Iterable[NicPlan],
) -> None:
    """Note every thread of QEMU, vCPU and other VM that would share pCPUs with this VM's real-time vCPUs."""
    taken = realtime_pcpus(case, vcpus)
    if not taken:
        return
    pins = {
        "the emulator": support.emulator,
        **{f"the iothread {iothread.iothread_id}": iothread.pin for iothread in iothreads},
        **{f"the vhost workers of {nic.nic_id}": nic.worker_pin for nic in nics},
    }
    for who, pin in pins.items():
        if pin & taken:
            _refuse_support(case, who, pin & taken)
    _check_own(case, _realtime(case, vcpus))
    if case.placement == "pinned":
        _check_others(case, taken)
        _check_pool(case, taken)


def _refuse_support(case: Case, who: str, both: frozenset[int]) -> None:
    case.notes.refuse(
        "plan.realtime-starves",
        f"{who} would share {pcpus_text(both)} with vCPUs of real-time priority {case.spec.cpu.realtime_priority}: it would "
        "not run beside them, and the guest would stand still",
        needed=f"pCPUs for {who} where no real-time vCPU runs",
        available=pcpus_text(both),
        hint="leave QEMU's other threads a pCPU (cpu.emulator, cpu.iothreads, cpu.vhost), or leave cpu.realtime_priority out",
    )


def _check_own(case: Case, vcpus: Iterable[VcpuPlan]) -> None:
    seen: set[int] = set()
    twice: set[int] = set()
    for vcpu in vcpus:
        twice |= seen & vcpu.pin
        seen |= vcpu.pin
    if twice:
        case.notes.refuse(
            "plan.realtime-shared",
            f"vCPUs of real-time priority {case.spec.cpu.realtime_priority} share pins ({pcpus_text(twice)}): one would keep "
            "the others from running",
            needed="a pCPU for each of them",
            available=pcpus_text(twice),
            hint="pin each vCPU to a pCPU of its own, or leave cpu.realtime_priority out",
        )


def _check_others(case: Case, taken: frozenset[int]) -> None:
    claims = [(pcpu, names) for table in (case.others.pinned, case.others.emulators) for pcpu, names in table.items()]
    held: dict[str, set[int]] = {}
    for name, pcpu in ((name, pcpu) for pcpu, names in claims if pcpu in taken for name in names):
        held.setdefault(name, set()).add(pcpu)
    if held:
        case.notes.refuse(
            "plan.realtime-shared",
            f"pins of {names_text(held)} lie on pCPUs of this VM's real-time vCPUs: what runs there would stand still",
            needed=pcpus_text(taken),
            available=pcpus_text(taken - frozenset[int]().union(*held.values())),
            held_by=tuple((name, pcpus_text(pcpus)) for name, pcpus in sorted(held.items())),
            hint=f"pin it to other pCPUs, or stop {names_text(held)}",
        )


def _check_pool(case: Case, taken: frozenset[int]) -> None:
    """Running shared VMs need a pCPU to float on."""
    exclusive = case.others.exclusive.keys()
    before = SharedPool.of(case.host, case.policy, exclusive, ()).open
    for nodes in sorted(case.others.shared):
        here = before & case.host.pcpus_of(nodes) or before
        if here and here <= taken:
            case.notes.refuse(
                "plan.realtime-shared",
                f"this VM's real-time vCPUs would take the last pCPUs on which shared VMs float ({pcpus_text(here)})",
                needed=pcpus_text(taken),
                available=pcpus_text(taken - here),
                host_node=nodes[0] if len(nodes) == 1 else None,
                hint="pin it to other pCPUs, or stop the shared VMs there",
            )
