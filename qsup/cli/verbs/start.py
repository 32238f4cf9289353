"""qsup start."""

from __future__ import annotations

import argparse

from qsup.cli.lifecycle import configure_lifecycle, run_lifecycle


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `start`."""
    parser.add_argument("--paused", action="store_true", help="hold the guest before its first instruction")
    configure_lifecycle(parser, takes_all=True)


def run(args: argparse.Namespace) -> int:
    """Give the order."""
    return run_lifecycle(args, "start", {"paused": args.paused})
