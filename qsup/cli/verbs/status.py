"""qsup status."""

from __future__ import annotations

import argparse
import sys
import time

from qsup.api.client import vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.host_status import host_text
from qsup.cli.render.vm_status import status_text
from qsup.cli.terminal import stdout_style

_OFFLINE_CODES = {
    "running": exit_codes.DONE,
    "not-running": exit_codes.NOT_RUNNING,
    "unknown": exit_codes.UNKNOWN,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `status`."""
    parser.add_argument("vm", metavar="VM", nargs="?", help="a VM's name; without one: the daemon itself")
    offline_help = "ask the launch records and the kernel, not the daemon: 0 running, 3 not running, 4 unknown"
    parser.add_argument("--offline", action="store_true", help=offline_help)
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is known of a VM; the exit code says whether its QEMU runs."""
    if args.offline:
        return _run_offline(args)
    if args.vm is None:
        return _run_host(args)
    vm = client_of(args).get(vm_path(args.vm))
    if args.json:
        print_json(vm)
    else:
        print_text(status_text(vm, stdout_style(), time.time()))
    return exit_codes.NOT_RUNNING if vm["pid"] is None else exit_codes.DONE


def _run_host(args: argparse.Namespace) -> int:
    host = client_of(args).get("/v1/host")
    if args.json:
        print_json(host)
    else:
        print_text(host_text(host))
    return exit_codes.DONE


def _run_offline(args: argparse.Namespace) -> int:
    if args.vm is None:
        print("qsup: status --offline needs a VM's name", file=sys.stderr)
        return exit_codes.USAGE
    from qsup.process.offline import status_offline

    state = status_offline(args.run_dir, args.vm)
    if args.json:
        print_json({"name": args.vm, "state": state})
    else:
        print_text(f"{args.vm}: {state}")
    return _OFFLINE_CODES[state]
