"""qsup timeline."""

from __future__ import annotations

import argparse
import sys

from qsup.api.client import vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.start_timeline import timeline_text
from qsup.cli.terminal import stdout_style, stdout_width

_WIDTH = 80


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `timeline`."""
    parser.add_argument("vm", metavar="VM", help="a VM's name")
    parser.add_argument("--all", action="store_true", help="all starts that the daemon remembers, oldest first")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the last start, or all; with --json an array of starts."""
    vm = client_of(args).get(vm_path(args.vm))
    starts = sorted(vm["starts"], key=lambda start: start["started_at_s"])
    shown = starts if args.all else starts[-1:]
    if args.json:
        print_json(shown)
    elif shown:
        texts = [timeline_text(args.vm, start, stdout_style(), stdout_width() or _WIDTH) for start in shown]
        print_text("\n\n".join(texts))
    else:
        print(f"qsup: {args.vm}: this daemon has not started it", file=sys.stderr)
    return exit_codes.DONE if shown else exit_codes.FAILED
