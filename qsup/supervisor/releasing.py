"""Release: take away what a VM had, and say how it ended."""

from __future__ import annotations

import trio

from qsup.argv.blame import blamed_option
from qsup.errors import KernelRefused, QemuFailed
from qsup.plan.vmplan import VmPlan
from qsup.process.kvm_access import revoke_kvm
from qsup.process.log_dir import tail
from qsup.process.procfs import boot_id
from qsup.process.run_dir import remove_vm_dir
from qsup.reconcile.backoff import delay_s, reason_to_give_up, recent_failures
from qsup.supervisor.endings import FAILURES, UNSEEN, verdict_of
from qsup.supervisor.notes import keep_power
from qsup.supervisor.observe import rules_of
from qsup.supervisor.pool_growth import give_back
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import RunSide, VmState

LAST_WORDS_BYTES = 4096


async def release(services: Services, vm: VmState) -> None:
    """Bring a VM that is prepared or gone back to absent; count its end as a failure where it was one."""
    run = vm.run
    plan = run.plan
    if run.link_scope is not None:
        run.link_scope.cancel()
    if run.gone:
        await _report_end(services, vm)
        if vm.past.given_up:
            await _keep_down(services, vm)
    if plan is not None:
        await take_away(services, plan)
    if run.process is not None:
        run.process.close()
    vm.power.restart_pending = False
    vm.power.force = False
    vm.run = RunSide()


async def _keep_down(services: Services, vm: VmState) -> None:
    """The next daemon leaves it down, too."""
    try:
        await keep_power(services.policy.state_dir, vm)
    except KernelRefused as refused:
        services.events.publish(refused.code, f"it is left down by this daemon only: {refused.message}", vm.name)


async def take_away(services: Services, plan: VmPlan) -> None:
    """Free all that preparing and launching made. Each step may find that there is nothing to do.

    Touches: the pools, /dev/kvm's ACL, the run directory and its log mount, the ledger.
    """
    for growth in await give_back(plan.paths):
        services.events.publish(
            "host.pool-kept",
            f"{growth.count} pages added on host node {growth.host_node} are in use by others and stay in the pool for now",
            plan.name,
        )
    await trio.to_thread.run_sync(_remove, plan)
    services.reservations.release(plan.name)


def _remove(plan: VmPlan) -> None:
    if plan.uid is not None:
        revoke_kvm(plan.uid)
    remove_vm_dir(plan.paths)


async def _report_end(services: Services, vm: VmState) -> None:
    run, past = vm.run, vm.past
    assert run.plan is not None
    if run.record is not None and run.record.boot_id != boot_id():
        services.events.publish("vm.host-rebooted", "what ran before the host rebooted is cleared away", vm.name)
        return
    ending = run.process.ending() if run.process is not None else UNSEEN
    words = (await trio.to_thread.run_sync(tail, run.plan.paths.stderr_log, LAST_WORDS_BYTES)).strip()
    code, text = verdict_of(run, ending, wanted_off=vm.power.wanted == "off" or vm.power.restart_pending)
    if past.clock is not None:
        past.clock.mark("greeting")
        past.finish_start(code)
    past.last_ending, past.last_ending_code, past.last_ending_text = ending, code, text
    past.last_words = words or None
    fields = {"ending": ending.text} | ({"last_words": words} if words else {})
    services.events.publish(code, text, vm.name, fields)
    if code in FAILURES:
        past.note_trouble(QemuFailed(code, text, ending.text, words, _hint_of(code, vm, words)))
        _count_failure(services, vm)
    else:
        past.failures_s = ()


def _hint_of(code: str, vm: VmState, words: str) -> str:
    if code != "vm.start-failed":
        return f"read its serial log and the kernel's (dmesg); `qsup status {vm.name}` tells when it starts again"
    record = vm.run.record
    blamed = blamed_option(words, record.argv, record.options) if record is not None else None
    if blamed is not None:
        return f"mend what QEMU's last words say; they are about its option {blamed.flag}, which comes from: {blamed.why}"
    subject = vm.config.file or vm.name
    return f"mend what QEMU's last words say; `qsup cmdline {subject} --explain` names the key behind each of its options"


def _count_failure(services: Services, vm: VmState) -> None:
    now_s = trio.current_time()
    rules = rules_of(vm)
    vm.past.failures_s = (*recent_failures(vm.past.failures_s, rules, now_s), now_s)
    count = len(vm.past.failures_s)
    vm.past.not_before_s = now_s + delay_s(count, rules)
    vm.past.given_up = reason_to_give_up(count, rules)
    if vm.past.given_up:
        services.events.publish("vm.given-up", f"left down: {vm.past.given_up}", vm.name)
    else:
        vm.past.restarts += 1
