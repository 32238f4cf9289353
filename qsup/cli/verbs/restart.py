"""qsup restart."""

from __future__ import annotations

import argparse

from qsup.cli.lifecycle import configure_lifecycle, run_lifecycle


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `restart`."""
    parser.add_argument("--force", action="store_true", help="do not ask the guest: end its QEMU at once")
    configure_lifecycle(parser)


def run(args: argparse.Namespace) -> int:
    """Give the order."""
    return run_lifecycle(args, "restart", {"force": args.force})
