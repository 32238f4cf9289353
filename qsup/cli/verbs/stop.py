"""qsup stop."""

from __future__ import annotations

import argparse

from qsup.cli.lifecycle import configure_lifecycle, run_lifecycle
from qsup.cli.options import DEFAULT_STATE_DIR


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `stop`."""
    parser.add_argument("--force", action="store_true", help="do not ask the guest: end its QEMU at once")
    shutdown_help = "the host goes down: stop all guests, also where no daemon lives or answers (qsup-guests.service says this)"
    parser.add_argument("--host-shutdown", action="store_true", help=shutdown_help)
    parser.add_argument("--state-dir", metavar="DIR", default=DEFAULT_STATE_DIR, help=argparse.SUPPRESS)
    configure_lifecycle(parser, takes_all=True)


def run(args: argparse.Namespace) -> int:
    """Give the order."""
    if not args.host_shutdown:
        return run_lifecycle(args, "stop", {"force": args.force})
    from qsup.cli.host_shutdown import stop_all_guests

    return stop_all_guests(args)
