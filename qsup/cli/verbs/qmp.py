"""qsup qmp."""

from __future__ import annotations

import argparse
import json

from qsup.api.client import vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `qmp`."""
    parser.add_argument("vm", metavar="VM", help="a VM's name")
    parser.add_argument("command", metavar="COMMAND", help="a QMP command, like query-status")
    arguments_help = "its arguments, a JSON object"
    parser.add_argument("arguments", metavar="JSON", nargs="?", type=_object, default={}, help=arguments_help)
    add_client_options(parser)


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object, like {{}}")
    return value


def run(args: argparse.Namespace) -> int:
    """Print QEMU's answer, which is JSON in any case."""
    body = {"command": args.command, "arguments": args.arguments}
    print_json(client_of(args).post(vm_path(args.vm, "/qmp"), body)["result"])
    return exit_codes.DONE
