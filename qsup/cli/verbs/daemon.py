"""qsup daemon."""

from __future__ import annotations

import argparse

from qsup.cli.options import DEFAULT_CONFIG_DIR, DEFAULT_SETTINGS, DEFAULT_STATE_DIR, add_run_dir


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `daemon`."""
    add_run_dir(parser)
    config_help = f"where the VMs' TOML files are dropped (default {DEFAULT_CONFIG_DIR})"
    parser.add_argument("--config-dir", metavar="DIR", default=DEFAULT_CONFIG_DIR, help=config_help)
    state_help = f"what must survive a reboot (default {DEFAULT_STATE_DIR})"
    parser.add_argument("--state-dir", metavar="DIR", default=DEFAULT_STATE_DIR, help=state_help)
    settings_help = f"the host settings (default {DEFAULT_SETTINGS}, where it exists)"
    parser.add_argument("--settings", metavar="FILE", default=None, help=settings_help)
    json_help = "print each event as one line of JSON on stdout, instead of a line on stderr or an entry in the journal"
    parser.add_argument("--json", action="store_true", help=json_help)


def run(args: argparse.Namespace) -> int:
    """Run the daemon until it is told to end."""
    from qsup.daemon.main import main

    return main(args)
