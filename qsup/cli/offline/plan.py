"""qsup plan: what would happen, and where everything would sit. Nothing is changed."""

from __future__ import annotations

import argparse

from attrs import evolve

from qsup.api.client import Json, Rejected
from qsup.api.wire import error_json
from qsup.cli import exit_codes
from qsup.cli.offline.drawing import write_drawing
from qsup.cli.offline.hosts import open_host
from qsup.cli.offline.plan_inputs import PlanInputs, check_without, inputs_of, offline_pcpus
from qsup.cli.offline.plan_report import report_of
from qsup.cli.offline.reboot_report import reboot_report
from qsup.cli.output import print_json, print_text
from qsup.cli.render.plan_text import plan_text
from qsup.cli.render.reboot_text import reboot_text
from qsup.cli.terminal import stdout_style, stdout_width
from qsup.errors import BadRequest, QsupError
from qsup.plan.whatif import Stage, plan_batch, stranded, with_offline, without_vms
from qsup.spec.vmspec import VmSpec

_WIDTH = 80


def run_plan(args: argparse.Namespace) -> int:
    """Print the plan; the exit code is 69 where something would be refused, 65 where a file cannot be planned.

    Raises:
        Rejected: the words contradict each other, or something that they name cannot be read.
    """
    try:
        _check_words(args)
        with open_host(args.host) as host:
            inputs = inputs_of(args, host)
            report = reboot_report(inputs) if args.reboot else _what_if(args, inputs)
        if args.svg is not None:
            write_drawing(args.svg, {"host": report["host"], **report["map"], "moves": _moves(report)})
    except QsupError as error:
        raise Rejected(*error_json(error)) from None
    if args.json:
        print_json(report)
    else:
        render = reboot_text if args.reboot else plan_text
        whole_map = not args.reboot if args.map is None else args.map
        print_text(render(report, stdout_style(), stdout_width() or _WIDTH, whole_map=whole_map))
    return _code_of(report)


def _check_words(args: argparse.Namespace) -> None:
    if args.reboot and (args.added or args.without or args.offline is not None):
        message = "--reboot plans the VMs that there are: it does not go with --with, --without or --offline"
        raise BadRequest("cli.contradiction", message, "say one of the two")


def _what_if(args: argparse.Namespace, inputs: PlanInputs) -> Json:
    check_without(args.without, inputs)
    offline = offline_pcpus(args.offline, inputs.stage.facts)
    facts = with_offline(inputs.stage.facts, offline)
    stage = without_vms(Stage(facts, inputs.stage.policy, inputs.stage.ledger), args.without)
    homeless = stranded(facts, stage.ledger)
    specs = _batch(inputs, args.without, homeless)
    outcome = plan_batch(specs.values(), stage, inputs.records)
    unknown = [name for name in homeless if name not in specs]
    notes = (f"{name} would lose pCPUs, and its file cannot be read: it is not planned anew" for name in unknown)
    noted = evolve(inputs, current=evolve(inputs.current, notes=(*inputs.current.notes, *notes)))
    return report_of(noted, args.without, specs, outcome)


def _batch(inputs: PlanInputs, without: list[str], homeless: tuple[str, ...]) -> dict[str, VmSpec]:
    """The VMs to plan, by name: what would start, what is put in, what loses its pCPUs."""
    specs = {spec.name: spec for spec in inputs.config if spec.name not in without}
    specs.update({name: inputs.running[name] for name in homeless if name in inputs.running})
    specs.update({spec.name: spec for spec in inputs.added})
    return specs


def _moves(report: Json) -> list[Json]:
    """The live re-pins that make room for the first refused VM for which any do: those for another may contradict them."""
    return next((vm["moves"] for vm in report["refused"] if vm["moves"]), [])


def _code_of(report: Json) -> int:
    if report["refused"]:
        return exit_codes.REFUSED
    if report["invalid"]:
        return exit_codes.INVALID_FILE
    return exit_codes.FAILED if report.get("same") is False else exit_codes.DONE
