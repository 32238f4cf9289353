"""Audit: the host and its VMs against the rules, read when somebody asks. Nothing is changed, and no VM waits for it.

Strategy: what VMs hold comes from the ledger, which is the plan in force; those that wait are planned on paper. Everything
else is read in one worker thread, one audit at a time. A file system that hangs holds that thread, not the daemon: the question
ends after 20 s, and so do those behind it.
"""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial

import trio

from qsup.errors import KernelRefused, QsupError
from qsup.host.audit.gather import read_audit_facts
from qsup.host.facts import read_host_facts
from qsup.plan.guest_record import GuestRecord
from qsup.plan.ledger import Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.whatif import Stage, plan_batch
from qsup.process.state_dir import read_guest_record
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import VmState
from qsup.truth.audit.report import AuditReport, audit
from qsup.truth.audit.table import rule_of

DEADLINE_S = 20.0  # a client waits for 30

_one_at_a_time = trio.CapacityLimiter(1)


async def audit_host(services: Services, skip: Collection[str]) -> AuditReport:
    """Ask every rule but those to skip.

    Raises:
        BadRequest: `truth.no-such-rule`. KernelRefused: `supervisor.audit-hangs`.

    Touches: /proc, /sys, the images of the VMs; in a worker thread.
    """
    for rule_id in skip:
        rule_of(rule_id)
    try:
        with trio.fail_after(DEADLINE_S):
            return await _asked(services, skip)
    except trio.TooSlowError:
        message = f"the host cannot be read within {DEADLINE_S:.0f} s: a file system of an image hangs, most likely"
        hint = "look for processes that wait for a disk: ps -eo pid,stat,wchan:30,comm | grep ' D'"
        raise KernelRefused("supervisor.audit-hangs", "audit", errno.ETIMEDOUT, message, hint) from None


async def _asked(services: Services, skip: Collection[str]) -> AuditReport:
    ledger, taken = await _held(services)
    running = ((vm.name, vm.run.process) for vm in services.fleet.values() if not vm.run.gone)
    pids = {name: process.pid for name, process in running if process is not None}
    waiting = tuple(spec for vm in services.fleet.values() if (spec := _wanted_spec(vm, ledger)) is not None)
    asked = partial(_audit, services.policy, ledger, waiting, pids, taken, skip)
    return await trio.to_thread.run_sync(asked, limiter=_one_at_a_time, abandon_on_cancel=True)


def _wanted_spec(vm: VmState, ledger: Ledger) -> VmSpec | None:
    """What a VM asks for that is to run and holds nothing."""
    return vm.config.spec if vm.name not in ledger.holdings and vm.power.wanted != "off" and not vm.stray else None


async def _held(services: Services) -> tuple[Ledger, Mapping[tuple[int, int], int] | None]:
    """The ledger, and the hugepages that VMs have taken; None where they cannot be counted."""
    ledger = await services.reservations.current()
    if not services.reservations.all_counted:
        return ledger, None
    taken: Counter[tuple[int, int]] = Counter()
    for holding in ledger.holdings.values():
        taken.update(holding.pages_taken)
    return ledger, taken


def _audit(
    policy: HostPolicy,
    ledger: Ledger,
    waiting: tuple[VmSpec, ...],
    pids: Mapping[str, int],
    taken: Mapping[tuple[int, int], int] | None,
    skip: Collection[str],
) -> AuditReport:
    """The report. VMs that wait for a start are planned on paper, so that what keeps them waiting is looked at as well."""
    bridges = {nic.bridge for holding in ledger.holdings.values() for nic in holding.plan.nics}
    bridges |= {nic.bridge for spec in waiting for nic in spec.nics}
    images = {disk.path: disk.format for spec in waiting for disk in spec.disks}
    host = read_host_facts(bridges=sorted(bridges), images=sorted(images.items()))
    outcome = plan_batch(waiting, Stage(host, policy, ledger), _records(policy, waiting))
    holdings = {**outcome.stage.ledger.holdings, **ledger.holdings}
    plans = [holding.plan for holding in holdings.values()]
    notes = tuple(f"{name} finds no room here and is left out: qsup status {name} says why" for name in sorted(outcome.refused))
    return audit(read_audit_facts(host, plans, pids, taken), skip, notes)


def _records(policy: HostPolicy, waiting: Iterable[VmSpec]) -> dict[str, GuestRecord]:
    """What is recorded of the guests; a record that cannot be read keeps its VM from starting, not from being looked at."""
    records = {}
    for spec in waiting:
        with contextlib.suppress(QsupError):
            record = read_guest_record(policy.state_dir, spec.name)
            if record is not None:
                records[spec.name] = record
    return records
