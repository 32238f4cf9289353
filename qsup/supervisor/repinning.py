"""The shared pool moves: shared VMs get new pins when dedicated VMs come and go. No other running VM is ever moved."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from qsup.cpuset import format_cpulist
from qsup.errors import QsupError
from qsup.plan.vmplan import VmPlan
from qsup.supervisor.looking import look_at_threads
from qsup.supervisor.notes import keep_record
from qsup.supervisor.placing import put_back
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import VmState


async def repin(services: Services, plans: Iterable[VmPlan]) -> None:
    """Give each shared VM its new plan: in the ledger, in its launch record and, where it runs, on its threads."""
    for plan in plans:
        vm = services.fleet.get(plan.name)
        if vm is not None and vm.run.plan is not None:
            try:
                await _repin(services, vm, plan)
            except QsupError as error:
                services.events.publish(error.code, error.message, vm.name)


async def _repin(services: Services, vm: VmState, plan: VmPlan) -> None:
    services.reservations.hold(plan)
    vm.run.plan = plan
    if vm.run.record is not None:
        vm.run.record = evolve(vm.run.record, plan=plan)
        await keep_record(vm)
    if vm.run.rows:
        look_at_threads(vm)
        put_back(vm)
        vm.run.truth.judge_again_s = 0.0  # by the new pins
    pools = " and ".join(dict.fromkeys(format_cpulist(vcpu.pin) for vcpu in plan.vcpus))  # one for each guest node
    services.events.publish("vm.repinned", f"the shared pool changed: its vCPUs now run on pCPUs {pools}", vm.name)
