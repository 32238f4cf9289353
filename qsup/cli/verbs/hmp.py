"""qsup hmp."""

from __future__ import annotations

import argparse

from qsup.api.client import vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.terminal import printable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `hmp`."""
    parser.add_argument("vm", metavar="VM", help="a VM's name")
    parser.add_argument("text", metavar="TEXT", nargs="+", help="a line for the monitor, like 'info status'")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print what the monitor printed."""
    result = client_of(args).post(vm_path(args.vm, "/hmp"), {"text": " ".join(args.text)})["result"]
    if args.json:
        print_json(result)
    else:
        print_text(printable(result.replace("\r", "")))
    return exit_codes.DONE
