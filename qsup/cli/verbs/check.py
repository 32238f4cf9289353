"""qsup check."""

from __future__ import annotations

import argparse

from qsup.cli.options import DEFAULT_CONFIG_DIR


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `check`."""
    files_help = "VM files, or a directory of them; without any: all of --config-dir"
    parser.add_argument("files", metavar="FILE", nargs="*", help=files_help)
    config_help = f"where the VMs' TOML files are (default {DEFAULT_CONFIG_DIR})"
    parser.add_argument("--config-dir", metavar="DIR", default=DEFAULT_CONFIG_DIR, help=config_help)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check the files; no daemon is asked."""
    from qsup.cli.offline.check import run_check

    return run_check(args)
