"""Audit: the host and its VMs against the rules, read when somebody asks. Nothing is changed, and no VM waits for it.

Strategy: what VMs hold comes from the ledger, which is the plan in force; everything else is read in one worker thread, one
audit at a time. A file system that hangs holds that thread, not the daemon: the question ends after 20 s, and so do those
behind it.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial

import trio

from qsup.errors import KernelRefused
from qsup.host.audit.gather import read_audit_facts
from qsup.host.facts import read_host_facts
from qsup.plan.ledger import Ledger
from qsup.plan.vmplan import VmPlan
from qsup.supervisor.services import Services
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
    plans = tuple(holding.plan for holding in ledger.holdings.values())
    running = ((vm.name, vm.run.process) for vm in services.fleet.values() if not vm.run.gone)
    pids = {name: process.pid for name, process in running if process is not None}
    asked = partial(_audit, plans, pids, taken, skip)
    return await trio.to_thread.run_sync(asked, limiter=_one_at_a_time, abandon_on_cancel=True)


async def _held(services: Services) -> tuple[Ledger, Mapping[tuple[int, int], int] | None]:
    """The ledger, and the hugepages that VMs have taken; None where they cannot be counted."""
    try:
        ledger = await services.reservations.current()
    except KernelRefused:
        return services.reservations.ledger, None
    taken: Counter[tuple[int, int]] = Counter()
    for holding in ledger.holdings.values():
        taken.update(holding.pages_taken)
    return ledger, taken


def _audit(
    plans: Iterable[VmPlan],
    pids: Mapping[str, int],
    taken: Mapping[tuple[int, int], int] | None,
    skip: Collection[str],
) -> AuditReport:
    wanted = tuple(plans)
    host = read_host_facts(bridges=(nic.bridge for plan in wanted for nic in plan.nics))
    return audit(read_audit_facts(host, wanted, pids, taken), skip)
