"""qsup console."""

from __future__ import annotations

import argparse
import sys

from qsup.api.client import vm_path
from qsup.cli.options import add_client_options, client_of
from qsup.cli.raw_console import carry_console
from qsup.cli.serial_tail import tail_of_log

_PROTOCOL = "qsup-console"
_CONTROL_LETTERS = "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `console`."""
    parser.add_argument("vm", metavar="VM", help="a VM's name")
    escape_help = "the key that leaves the console, like ^A, or none (default ^], which is Ctrl and ])"
    parser.add_argument("--escape", metavar="KEY", type=_escape_byte, default=b"\x1d", help=escape_help)
    tail_help = "show the last N lines of the serial log first (default 0)"
    parser.add_argument("--tail", metavar="N", type=int, default=0, help=tail_help)
    add_client_options(parser)


def _escape_byte(text: str) -> bytes:
    if text == "none":
        return b""
    letter = text[1:].upper()
    if len(text) == 2 and text[0] == "^" and letter in _CONTROL_LETTERS:
        return bytes([_CONTROL_LETTERS.index(letter)])
    raise argparse.ArgumentTypeError(f"{text!r} is no control key: write ^A to ^Z, ^[, ^\\, ^], ^^, ^_ or none")


def run(args: argparse.Namespace) -> int:
    """Carry bytes between the terminal and the guest until one of them ends."""
    client = client_of(args)
    if args.tail > 0:
        log = client.get(vm_path(args.vm))["serial_log"]
        sys.stdout.buffer.write(tail_of_log(log, args.tail))
        sys.stdout.flush()
    connection, first = client.upgrade(vm_path(args.vm, "/console"), _PROTOCOL)
    with connection:
        return carry_console(connection, first, args.escape, args.vm)
