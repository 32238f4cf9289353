"""qsup cmdline FILE: what would run for this file on this host, were no other VM there."""

from __future__ import annotations

import argparse

import trio
from attrs import evolve

from qsup.api.client import Rejected
from qsup.api.wire import cmdline_json, error_json
from qsup.argv.build import build, missing_capabilities
from qsup.argv.explain import explain
from qsup.argv.option import Argv
from qsup.cli import exit_codes
from qsup.cli.offline.vm_files import read_text
from qsup.cli.output import print_json, print_text
from qsup.cli.render.command_line import command_line_text
from qsup.daemon.configuration import policy_of, read_settings
from qsup.errors import InvalidInput, QsupError
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.process.state_dir import read_guest_record
from qsup.spec.parse import name_of_file, parse_vm
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.reservations import facts_for
from qsup.supervisor.view import CmdlineView


def run_cmdline(args: argparse.Namespace) -> int:
    """Print the command line of a file.

    Raises:
        Rejected: the file is not valid, it does not fit here, or QEMU cannot do it; the daemon would say the same.
    """
    try:
        argv = _argv_of(args)
    except QsupError as error:
        status, body = error_json(error)
        raise Rejected(status, body) from None
    if args.json:
        options = tuple((option.flag, option.value, option.why) for option in argv.options)
        print_json(cmdline_json(CmdlineView(argv.words(), options, running=False)))
    elif args.explain:
        print_text(explain(argv))
    else:
        print_text(command_line_text(argv.words()))
    return exit_codes.DONE


def _argv_of(args: argparse.Namespace) -> Argv:
    path = args.subject
    spec = parse_vm(read_text(path), file=path, name=name_of_file(path))
    policy = policy_of(read_settings(args.settings), args.run_dir, args.state_dir)
    return trio.run(_plan_and_build, spec, policy)


async def _plan_and_build(spec: VmSpec, policy: HostPolicy) -> Argv:
    record = read_guest_record(policy.state_dir, spec.name)
    caps = await CapsCache().caps_of(policy.qemu)
    facts = _without_locks(await facts_for(spec))
    plan = place(
        spec, facts, policy, Ledger(), record, caps.machine_aliases, disk_queue_threads=caps.disk_queue_threads
    )
    missing = missing_capabilities(plan, caps)
    if missing:
        raise InvalidInput(missing)
    return build(plan, caps)


def _without_locks(facts: HostFacts) -> HostFacts:
    """The host as if nobody held an image: the VM itself may be running."""
    images = {path: evolve(image, locked_by_other=False, written_by_other=False) for path, image in facts.images.items()}
    return evolve(facts, images=images)
