"""qsup audit without a daemon: this host or a recorded one, what its launch records tell, and the VMs' files on paper."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import evolve

from qsup.api.audit_wire import audit_json
from qsup.api.client import Json, Rejected
from qsup.api.wire import error_json
from qsup.cli.offline.hosts import Host, open_host
from qsup.cli.offline.plan_inputs import PlanInputs, inputs_of
from qsup.cli.options import DEFAULT_CONFIG_DIR
from qsup.errors import KernelRefused, QsupError
from qsup.host.audit.gather import read_audit_facts
from qsup.host.audit.processes import qemu_pids
from qsup.host.facts import read_host_facts
from qsup.host.pages import pages_taken
from qsup.host.sysfs import is_dir, rooted
from qsup.plan.host_facts import HostFacts
from qsup.plan.whatif import Stage, plan_batch
from qsup.truth.audit.facts import AuditFacts
from qsup.truth.audit.report import audit
from qsup.truth.audit.table import rule_of

Pages = Mapping[tuple[int, int], int]

_SMALLEST_HUGEPAGE_BYTES = 1 << 21


def audit_offline(args: argparse.Namespace, notes: Iterable[str]) -> Json:
    """The report as the API would give it.

    Raises:
        Rejected: a rule that does not exist, or the recorded host, the settings or the config directory cannot be read.
    """
    try:
        for rule_id in args.skip:
            rule_of(rule_id)
        with open_host(args.host) as host:
            facts, more = facts_offline(args, host)
            return audit_json(audit(facts, args.skip, (*notes, *more)), time.time())
    except QsupError as error:
        raise Rejected(*error_json(error)) from None


def facts_offline(args: argparse.Namespace, host: Host) -> tuple[AuditFacts, tuple[str, ...]]:
    """What the rules look at, and what it is not."""
    inputs = inputs_of(_asked(args, host), host)
    pids = qemu_pids(host.root)
    taken = _taken(pids.values(), host.root)
    stage = inputs.stage if host.recorded is None else _as_if_idle(inputs.stage, taken)
    outcome = plan_batch(inputs.config, stage, inputs.records)
    plans = tuple(holding.plan for holding in outcome.stage.ledger.holdings.values())
    facts = read_audit_facts(_as_it_is(inputs.stage.facts, host.root), plans, pids, _hugepages(taken), host.root)
    return facts, _notes(inputs, outcome.refused)


def _asked(args: argparse.Namespace, host: Host) -> argparse.Namespace:
    """The words as `plan` understands them; of a recorded host its own VM files count."""
    config_dir = args.config_dir
    if config_dir is None and host.recorded is not None and is_dir(host.root, DEFAULT_CONFIG_DIR):
        config_dir = rooted(host.root, DEFAULT_CONFIG_DIR)
    words = {**vars(args), "config_dir": config_dir, "added": [], "reboot": False}
    return argparse.Namespace(**words)


def _taken(pids: Iterable[int], root: str) -> Pages | None:
    """The pages of these processes; None where they cannot be counted."""
    taken: Counter[tuple[int, int]] = Counter()
    try:
        for pid in pids:
            taken.update(pages_taken(pid, root))
    except KernelRefused:
        return None
    return taken


def _hugepages(taken: Pages | None) -> Pages | None:
    if taken is None:
        return None
    return {key: count for key, count in taken.items() if key[1] >= _SMALLEST_HUGEPAGE_BYTES}


def _as_if_idle(stage: Stage, taken: Pages | None) -> Stage:
    """A recorded host has no launch records: its running VMs are planned again, on the pages that they have."""
    if not taken:
        return stage
    nodes = []
    for node in stage.facts.nodes:
        pools = tuple(
            evolve(pool, free=min(pool.total, pool.free + taken.get((node.host_node, pool.page_size_bytes), 0)))
            for pool in node.pools
        )
        nodes.append(evolve(node, pools=pools))
    return Stage(evolve(stage.facts, nodes=tuple(nodes)), stage.policy, stage.ledger)


def _as_it_is(planned: HostFacts, root: str) -> HostFacts:
    """The machine as the plans need it, with what the planner took for granted put right again."""
    seen = read_host_facts(root=root)
    return evolve(planned, kvm_problem=seen.kvm_problem, vhost_net=seen.vhost_net)


def _notes(inputs: PlanInputs, refused: Mapping[str, object]) -> tuple[str, ...]:
    notes = list(inputs.current.notes)
    notes += [f"{os.path.basename(file.path)} cannot be planned: qsup check {file.path} says why" for file in inputs.invalid]
    notes += [f"{name} finds no room here and is left out: qsup plan says why" for name in sorted(refused)]
    return tuple(notes)
