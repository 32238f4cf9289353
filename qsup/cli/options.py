"""The options that every verb takes."""

from __future__ import annotations

import argparse
import os

from qsup.api.client import Client

DEFAULT_RUN_DIR = "/run/qsup"
DEFAULT_CONFIG_DIR = "/etc/qsup/vms.d"
DEFAULT_STATE_DIR = "/var/lib/qsup"
DEFAULT_SETTINGS = "/etc/qsup/settings.toml"


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    """--run-dir."""
    default = os.environ.get("QSUP_RUN_DIR") or DEFAULT_RUN_DIR
    help_text = f"the daemon's run directory (QSUP_RUN_DIR; default {DEFAULT_RUN_DIR})"
    parser.add_argument("--run-dir", metavar="DIR", default=default, help=help_text)


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """--run-dir and --json."""
    add_run_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def client_of(args: argparse.Namespace) -> Client:
    """The client for the chosen run directory."""
    return Client(args.run_dir)
