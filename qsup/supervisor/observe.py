"""observe: what is held of one VM, as the pure rooms see it."""

from __future__ import annotations

from qsup.reconcile.desired import Desired
from qsup.spec.vm import VmSectionSpec
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.observed import ObservedVm, ProcessState
from qsup.truth.threads import ThreadRow


def observed_of(vm: VmState) -> ObservedVm:
    """The observation that `decide` takes. Touches nothing: all was gathered by whoever saw it."""
    run = vm.run
    link = run.link
    return ObservedVm(
        prepared=run.plan is not None,
        process=_process_state(vm),
        stray=vm.stray is not None,
        greeted=link is not None and link.greeted,
        silent_since_s=link.silent_since_s if link is not None else None,
        qemu_status=link.status if link is not None else None,
        placed=run.placed,
        drifted=any(row.verdict == "drift" and not _is_tended(run, row) for row in run.rows),
        stop_stage=run.stop_stage,
        stop_since_s=run.stop_since_s,
    )


def _is_tended(run: RunSide, row: ThreadRow) -> bool:
    """What the tick has judged is its business: put back, or left where it is for a reason."""
    return run.started and row.tid in run.truth.drift


def _process_state(vm: VmState) -> ProcessState:
    if vm.run.process is not None and not vm.run.gone:
        return "alive"
    return "gone" if vm.run.gone or vm.run.record is not None else "none"


def rules_of(vm: VmState) -> VmSectionSpec:
    """The [vm] rules in force: those of its file, else those it was launched with, else the defaults."""
    if vm.config.spec is not None:
        return vm.config.spec.vm
    return VmSectionSpec()


def desired_of(vm: VmState) -> Desired:
    """What is wanted of the VM now."""
    return Desired(
        power="off" if vm.power.restart_pending else vm.power.wanted,
        rules=rules_of(vm),
        force=vm.power.force,
        removed=vm.config.state == "removed",
        startable=vm.config.spec is not None,
        not_before_s=vm.past.not_before_s,
        given_up=vm.past.given_up,
    )
