"""qsup cmdline."""

from __future__ import annotations

import argparse

from qsup.api.client import vm_path
from qsup.cli import exit_codes
from qsup.cli.options import DEFAULT_SETTINGS, DEFAULT_STATE_DIR, add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.command_line import command_line_text, explained_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `cmdline`."""
    subject_help = "a VM's name, or a file (with a slash or .toml) that need not be in force"
    parser.add_argument("subject", metavar="VM|FILE", help=subject_help)
    parser.add_argument("--explain", action="store_true", help="the key or the rule behind every option")
    state_help = f"with FILE: where the guest's recorded hardware lies (default {DEFAULT_STATE_DIR})"
    parser.add_argument("--state-dir", metavar="DIR", default=DEFAULT_STATE_DIR, help=state_help)
    settings_help = f"with FILE: the host settings (default {DEFAULT_SETTINGS}, where it exists)"
    parser.add_argument("--settings", metavar="FILE", default=None, help=settings_help)
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the command line of a VM, by the daemon, or of a file, without it."""
    if "/" in args.subject or args.subject.endswith(".toml"):
        from qsup.cli.offline.cmdline import run_cmdline

        return run_cmdline(args)
    view = client_of(args).get(vm_path(args.subject, "/cmdline"))
    if args.json:
        print_json(view)
    elif args.explain:
        print_text(explained_text(view["words"][0], view["options"]))
    else:
        print_text(command_line_text(view["words"]))
    return exit_codes.DONE
