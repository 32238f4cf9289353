"""qsup topology: the machine, and who sits where."""

from __future__ import annotations

import argparse
import json
import sys

from qsup.api.client import Json, Rejected
from qsup.api.wire import error_json
from qsup.cli import exit_codes
from qsup.cli.offline.current import Current, current_of
from qsup.cli.offline.hosts import Host, open_host
from qsup.cli.output import print_json, print_text
from qsup.cli.render.topology_svg import topology_svg
from qsup.cli.render.topology_text import topology_text
from qsup.cli.terminal import stdout_style, stdout_width
from qsup.daemon.configuration import policy_of, read_settings
from qsup.errors import KernelRefused, QsupError
from qsup.host.facts import read_host_facts
from qsup.host.record import record_host
from qsup.plan.policy import HostPolicy
from qsup.process.json_shape import text_of
from qsup.truth.host_map import HostMap, map_of

_WIDTH = 80


def run_topology(args: argparse.Namespace) -> int:
    """Show, draw or record the host.

    Raises:
        Rejected: the recorded host or the settings cannot be read, or a file cannot be written.
    """
    if args.record is not None and (args.host is not None or args.svg is not None):
        print("qsup: --record writes this host down, and nothing else: leave --host and --svg out", file=sys.stderr)
        return exit_codes.USAGE
    try:
        return _record(args) if args.record is not None else _show(args)
    except QsupError as error:
        raise Rejected(*error_json(error)) from None


def _record(args: argparse.Namespace) -> int:
    try:
        count = record_host(args.record)
    except (OSError, ValueError) as error:
        raise _not_written(args.record, error) from None
    if args.json:
        print_json({"recorded": args.record, "files": count})
    else:
        print_text(f"{args.record}: {count} files; show them with: qsup topology --host {args.record}")
    return exit_codes.DONE


def _show(args: argparse.Namespace) -> int:
    policy = policy_of(read_settings(args.settings), args.run_dir, "/var/lib/qsup")
    with open_host(args.host) as host:
        current = Current() if host.recorded else current_of(args.run_dir, with_files=False)
        picture = map_json(_map(host, policy, current))
    document = {"host": host.name, "basis": current.basis, **picture}
    document["assumptions"] = list(host.assumptions)
    document["notes"] = list(current.notes)
    if args.svg is not None:
        _write(args.svg, topology_svg(document))
    if args.json:
        print_json(document)
    elif args.svg is None:
        print_text(topology_text(document, stdout_style(), stdout_width() or _WIDTH))
    return exit_codes.DONE


def _map(host: Host, policy: HostPolicy, current: Current) -> HostMap:
    return map_of(read_host_facts(root=host.root), policy, current.ledger)


def map_json(picture: HostMap) -> Json:
    """The map as plain JSON, with the names of `truth/host_map.py`."""
    document: Json = json.loads(text_of(picture))
    return document


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        raise _not_written(path, error) from None


def _not_written(path: str, error: OSError | ValueError) -> KernelRefused:
    number, why = (error.errno or 5, error.strerror) if isinstance(error, OSError) else (22, str(error))
    return KernelRefused("cli.not-written", path, number, f"{path} cannot be written: {why}", "name another place")
