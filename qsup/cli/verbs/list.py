"""qsup list."""

from __future__ import annotations

import argparse

from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.vm_list import list_text
from qsup.cli.terminal import stdout_style, stdout_width


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `list`."""
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print all VMs."""
    vms = client_of(args).get("/v1/vms")["vms"]
    if args.json:
        print_json(vms)
    else:
        print_text(list_text(vms, stdout_style(), stdout_width()))
    return exit_codes.DONE
