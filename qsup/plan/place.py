"""place: from what was asked and what the host has to a plan, or to every reason why not.

Order: memory first, since it decides the host node; vCPUs follow; then emulator, iothreads and vhost workers beside them.
Sections note their reasons and go on, so that one refusal names everything that stands in the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from qsup.errors import Refused
from qsup.plan.boot import plan_boot
from qsup.plan.case import Case, Notes
from qsup.plan.console import plan_console
from qsup.plan.disk import plan_disks
from qsup.plan.emulator import SupportPlan, plan_support
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts
from qsup.plan.identity import plan_uid, plan_uuid
from qsup.plan.ledger import Ledger
from qsup.plan.machine import plan_machine
from qsup.plan.memory import guest_node_plans, pool_growth
from qsup.plan.nic import plan_nics
from qsup.plan.overhead import overhead_bytes_of
from qsup.plan.own_support import OwnSupport
from qsup.plan.paths import plan_paths
from qsup.plan.pci import device_identities, plan_pci_slots
from qsup.plan.policy import HostPolicy
from qsup.plan.realtime import check_realtime, realtime_pcpus
from qsup.plan.seat import Seat, seat_of
from qsup.plan.vmplan import SupportSets, VmPlan
from qsup.spec.vmspec import VmSpec

_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


def place(
    spec: VmSpec,
    facts: HostFacts,
    policy: HostPolicy,
    ledger: Ledger,
    record: GuestRecord | None = None,
    machine_aliases: Mapping[str, str] = _NO_ALIASES,
    *,
    disk_queue_threads: bool = False,
) -> VmPlan:
    """The plan for one VM. What the ledger holds for this VM itself counts as free: it is being planned again.

    Args:
        spec: what was asked.
        facts: the host as it is now, with every image, file and bridge that the spec names.
        policy: the host's rules.
        ledger: what all VMs hold.
        record: the guest's hardware since its first start, and its last placement.
        machine_aliases: alias → versioned machine, as QEMU tells; empty: not known yet.
        disk_queue_threads: QEMU can share out the queues of one disk over several iothreads.

    Returns:
        The plan; the same one for the same input.

    Raises:
        Refused: every constraint that fails (codes `plan.*`).
    """
    notes = Notes()
    plan = planned(Case(spec, facts, policy, ledger, record, machine_aliases, notes, disk_queue_threads))
    if plan is None:
        raise Refused(tuple(notes.reasons))
    return plan


def planned(case: Case) -> VmPlan | None:
    """The plan of the case; None with the reasons in its notes."""
    machine = plan_machine(case)
    overhead_bytes = overhead_bytes_of(case, machine.accel)
    seat = seat_of(case, overhead_bytes)
    layout = None if seat is None else seat.layout
    support = _support(case, seat)
    identities = device_identities(case)
    slots = plan_pci_slots(case, (*identities[0], *identities[1]))
    disks = plan_disks(case, tuple(slots[identity] for identity in identities[0]), support, layout)
    nics = plan_nics(case, tuple(slots[identity] for identity in identities[1]), support, layout)
    if seat is not None:
        check_realtime(case, seat.cpu.vcpus, support, disks.iothreads, nics)
    paths = plan_paths(case)
    boot = plan_boot(case, paths)
    console = plan_console(case)
    uid = plan_uid(case)
    if case.notes.reasons or seat is None:
        return None
    spec, policy = case.spec, case.policy
    return VmPlan(
        name=spec.name,
        uuid=plan_uuid(case),
        qemu=policy.qemu,
        machine=machine.machine,
        accel=machine.accel,
        cpu_model=machine.cpu_model,
        sockets=seat.topology.sockets,
        cores=seat.topology.cores,
        threads=seat.topology.threads,
        placement=case.placement,
        vcpus=seat.cpu.vcpus,
        emulator=support.emulator,
        iothreads=disks.iothreads,
        guest_nodes=guest_node_plans(case, seat.layout),
        pool_growth=pool_growth(case, seat.layout),
        disks=disks.disks,
        nics=nics,
        boot=boot,
        serial=console.serial,
        log_bytes=console.log_bytes,
        paths=paths,
        uid=uid,
        warnings=tuple(case.notes.warnings),
        emptied=seat.cpu.emptied,
        emulator_asked=isinstance(spec.cpu.emulator, frozenset),
        overhead_bytes=overhead_bytes,
        shared_vcpus=spec.cpu.shared_vcpus or frozenset(),
        support_pcpus=seat.cpu.own_support.pcpus,
        sets=_support_sets(case),
        realtime_priority=spec.cpu.realtime_priority,
    )


def _support(case: Case, seat: Seat | None) -> SupportPlan:
    """The sets of QEMU's other threads; without a seat only what was written is checked."""
    if seat is None:
        return plan_support(case, (), frozenset(), frozenset(), OwnSupport())
    vcpu_pcpus = frozenset[int]().union(*(vcpu.pin for vcpu in seat.cpu.vcpus))
    nodes = sorted({node for share in seat.layout.shares for node in share.host_nodes})
    own = seat.cpu.exclusive | realtime_pcpus(case, seat.cpu.vcpus)
    return plan_support(case, nodes, vcpu_pcpus, own, seat.cpu.own_support)


def _support_sets(case: Case) -> SupportSets:
    cpu = case.spec.cpu
    emulator = cpu.emulator
    return SupportSets(
        "housekeeping" if emulator is None or isinstance(emulator, frozenset) else emulator, cpu.iothreads, cpu.vhost
    )
