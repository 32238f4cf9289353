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
_SHOWN = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `timeline`."""
    parser.add_argument("vm", metavar="VM", help="a VM's name")
    shown = parser.add_mutually_exclusive_group()
    count_help = f"the last N starts (default {_SHOWN})"
    shown.add_argument("-n", "--last", metavar="N", type=_count, default=_SHOWN, help=count_help)
    shown.add_argument("--all", action="store_true", help="all starts that the daemon remembers: the last ten")
    add_client_options(parser)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print the last starts, the newest last; with --json an array of starts."""
    starts = client_of(args).get(vm_path(args.vm, "/timeline"))["starts"]
    shown = starts if args.all else starts[-args.last :]
    if args.json:
        print_json(shown)
    elif shown:
        print_text(timeline_text(args.vm, shown, stdout_style(), stdout_width() or _WIDTH))
    else:
        print(f"qsup: {args.vm}: this daemon has not started it", file=sys.stderr)
    return exit_codes.DONE if shown else exit_codes.FAILED
