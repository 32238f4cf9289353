"""qsup plan."""

from __future__ import annotations

import argparse

from qsup.cli.options import DEFAULT_CONFIG_DIR, DEFAULT_SETTINGS, DEFAULT_STATE_DIR, add_client_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `plan`."""
    with_help = "a VM file (or a directory of them) as if it were in force; again for more"
    parser.add_argument("--with", metavar="FILE", dest="added", action="append", default=[], help=with_help)
    without_help = "as if this VM were stopped; again for more"
    parser.add_argument("--without", metavar="VM", action="append", default=[], help=without_help)
    parser.add_argument("--offline", metavar="CPULIST", default=None, help="as if these pCPUs were offline, like 4-7,12")
    host_help = "plan for a recorded host: a directory, or its tree as one JSON file"
    parser.add_argument("--host", metavar="RECORDED", help=host_help)
    reboot_help = "would all VMs that start by themselves come back in the same place, and what guarantees it"
    parser.add_argument("--reboot", action="store_true", help=reboot_help)
    map_help = "the whole host as it would be, as `qsup topology` shows it (default, but not with --reboot)"
    parser.add_argument("--map", action=argparse.BooleanOptionalAction, default=None, help=map_help)
    parser.add_argument("--svg", metavar="FILE", help="draw the host as it would be into a file")
    config_help = f"without a daemon: where the VMs' TOML files are (default {DEFAULT_CONFIG_DIR})"
    parser.add_argument("--config-dir", metavar="DIR", default=None, help=config_help)
    state_help = f"where the guests' records lie (default {DEFAULT_STATE_DIR})"
    parser.add_argument("--state-dir", metavar="DIR", default=DEFAULT_STATE_DIR, help=state_help)
    settings_help = f"the host settings (default {DEFAULT_SETTINGS}, where it exists)"
    parser.add_argument("--settings", metavar="FILE", default=None, help=settings_help)
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Say what would happen; nothing is changed."""
    from qsup.cli.offline.plan import run_plan

    return run_plan(args)
