"""The answer of `qsup plan --reboot` as JSON: which VM comes back where, and the lines that guarantee it."""

from __future__ import annotations

from qsup.api.client import Json
from qsup.cli.offline.plan_inputs import PlanInputs
from qsup.cli.offline.plan_report import frame_of, plain, refusal_json, seats_json
from qsup.host.boot_settings import BootSettings, read_boot_settings
from qsup.natural import natural
from qsup.plan.host_facts import HostFacts
from qsup.plan.reboot import Reboot, plan_reboot, same_seats
from qsup.spec.vmspec import VmSpec
from qsup.truth.host_map import map_of


def reboot_report(inputs: PlanInputs) -> Json:
    """The whole answer. `same`: every VM that runs now and starts by itself comes back to the same place.

    A VM is "same", "moved", "starts" (it does not run now) or "refused"; one that runs and does not start by itself
    is "stays off".
    """
    specs = {spec.name: spec for spec in inputs.config}
    settings = read_boot_settings(inputs.host.root)
    pages = _pages(settings, inputs.stage.facts)
    reboot = plan_reboot(specs.values(), inputs.stage, inputs.records, pages, settings.default_page_bytes)
    vms = [_vm_json(name, inputs, reboot) for name in sorted({*specs, *inputs.stage.ledger.holdings}, key=natural)]
    stage = reboot.at_boot.stage
    return {
        **frame_of(inputs),
        "vms": vms,
        "same": all(vm["result"] in ("same", "starts", "stays off") for vm in vms),
        "same_with_lines": _agree(inputs, reboot),
        "refused": [
            refusal_json(specs[name], reboot.at_boot.refused[name], stage, inputs, runs=name in inputs.stage.ledger.holdings)
            for name in sorted(reboot.at_boot.refused, key=natural)
        ],
        "growth": _growth(reboot),
        "boot_words": list(settings.words),
        "lines": plain(reboot.lines),
        "map": plain(map_of(stage.facts, stage.policy, stage.ledger)),
    }


def _pages(settings: BootSettings, facts: HostFacts) -> dict[tuple[int, int], int]:
    nodes = [node.host_node for node in facts.nodes if node.memory_total_bytes]
    return {
        (node.host_node, pool.page_size_bytes): settings.pages_on(node.host_node, pool.page_size_bytes, nodes)
        for node in facts.nodes
        for pool in node.pools
    }


def _vm_json(name: str, inputs: PlanInputs, reboot: Reboot) -> Json:
    now = inputs.stage.ledger.holdings.get(name)
    then = reboot.at_boot.stage.ledger.holdings.get(name)
    old, new = now.plan if now else None, then.plan if then else None
    if new is None:
        result = "refused" if name in reboot.at_boot.refused else "stays off"
    else:
        result = "starts" if old is None else "same" if same_seats(old, new) else "moved"
    return {
        "name": name,
        "result": result,
        "now": seats_json(old) if old is not None else None,
        "then": seats_json(new) if new is not None else None,
    }


def _agree(inputs: PlanInputs, reboot: Reboot) -> bool:
    """Whether with the lines in force every VM comes back, and those that run now to the same place."""
    now, then = inputs.stage.ledger.holdings, reboot.with_lines.stage.ledger.holdings
    wanted: list[VmSpec] = list(inputs.config)
    return all(
        spec.name in then and (spec.name not in now or same_seats(now[spec.name].plan, then[spec.name].plan))
        for spec in wanted
    )


def _growth(reboot: Reboot) -> list[Json]:
    """Pages by which pools have to grow after the boot, since nothing sets them up for it."""
    counts: dict[tuple[int, int], int] = {}
    for holding in reboot.at_boot.stage.ledger.holdings.values():
        for growth in holding.plan.pool_growth:
            key = (growth.host_node, growth.page_size_bytes)
            counts[key] = counts.get(key, 0) + growth.count
    return [{"host_node": node, "page_size_bytes": size, "count": count} for (node, size), count in sorted(counts.items())]
