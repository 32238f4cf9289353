"""qsup topology."""

from __future__ import annotations

import argparse

from qsup.cli.options import DEFAULT_SETTINGS, add_client_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `topology`."""
    parser.add_argument("--host", metavar="RECORDED", help="a recorded host: a directory, or its tree as one JSON file")
    parser.add_argument("--record", metavar="DIR", help="write what qsup reads of this host into a directory, and nothing else")
    vms_help = "with --record: also who runs here, with the names of VMs and images, for qsup plan --host DIR"
    parser.add_argument("--vms", action="store_true", help=vms_help)
    parser.add_argument("--svg", metavar="FILE", help="draw it into a file")
    settings_help = f"the host settings, for the housekeeping pCPUs (default {DEFAULT_SETTINGS}, where it exists)"
    parser.add_argument("--settings", metavar="FILE", default=None, help=settings_help)
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show the host; a daemon is asked who sits where, and is not needed."""
    from qsup.cli.offline.topology import run_topology

    return run_topology(args)
