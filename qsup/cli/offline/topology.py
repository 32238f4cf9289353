"""qsup topology: the machine, and who sits where."""

from __future__ import annotations

import argparse
import sys

from qsup.api.client import Rejected
from qsup.api.topology_wire import map_json
from qsup.api.wire import error_json
from qsup.cli import exit_codes
from qsup.cli.offline.current import Current, current_of
from qsup.cli.offline.drawing import not_written, write_drawing
from qsup.cli.offline.hosts import Host, open_host
from qsup.cli.offline.recorded_vms import current_of_recording, record_vms
from qsup.cli.output import print_json, print_text
from qsup.cli.render.amounts import counted
from qsup.cli.render.topology_text import topology_text
from qsup.cli.terminal import stdout_style, stdout_width
from qsup.daemon.configuration import policy_of, read_settings
from qsup.errors import QsupError
from qsup.host.facts import read_host_facts
from qsup.host.record import record_host
from qsup.plan.policy import HostPolicy
from qsup.truth.host_map import HostMap, map_of

_WIDTH = 80


def run_topology(args: argparse.Namespace) -> int:
    """Show, draw or record the host.

    Raises:
        Rejected: the recorded host or the settings cannot be read, or a file cannot be written.
    """
    if wrong := _contradiction(args):
        print(f"qsup: {wrong}", file=sys.stderr)
        return exit_codes.USAGE
    try:
        return _record(args) if args.record is not None else _show(args)
    except QsupError as error:
        raise Rejected(*error_json(error)) from None


def _contradiction(args: argparse.Namespace) -> str | None:
    if args.record is not None and (args.host is not None or args.svg is not None):
        return "--record writes this host down, and nothing else: leave --host and --svg out"
    if args.vms and args.record is None:
        return "--vms goes with --record: without it, who sits where is shown anyway"
    return None


def _record(args: argparse.Namespace) -> int:
    current = current_of(args.run_dir, with_files=False) if args.vms else None
    try:
        count = record_host(args.record)
        if current is not None:
            record_vms(args.record, current.ledger)
            count += 1
    except (OSError, ValueError) as error:
        raise not_written(args.record, error) from None
    if args.json:
        print_json({"recorded": args.record, "files": count, "vms": sorted(current.ledger.holdings) if current else []})
        return exit_codes.DONE
    notes = "".join(f"note: {note}\n" for note in current.notes) if current else ""
    who = f" with {counted(len(current.ledger.holdings), 'VM')}" if current else ""
    print_text(f"{notes}{args.record}: {counted(count, 'file')}{who}; show them with: qsup topology --host {args.record}")
    return exit_codes.DONE


def _show(args: argparse.Namespace) -> int:
    policy = policy_of(read_settings(args.settings), args.run_dir, "/var/lib/qsup")
    with open_host(args.host) as host:
        current = current_of_recording(host) if host.recorded else current_of(args.run_dir, with_files=False)
        picture = map_json(_map(host, policy, current))
    document = {"host": host.name, "basis": current.basis, **picture}
    document["assumptions"] = list(host.assumptions)
    document["notes"] = list(current.notes)
    if args.svg is not None:
        write_drawing(args.svg, document)
    if args.json:
        print_json(document)
    elif args.svg is None:
        print_text(topology_text(document, stdout_style(), stdout_width() or _WIDTH))
    return exit_codes.DONE


def _map(host: Host, policy: HostPolicy, current: Current) -> HostMap:
    return map_of(read_host_facts(root=host.root), policy, current.ledger)


