"""qsup verify."""

from __future__ import annotations

import argparse
import sys
import time

from qsup.api.client import Client, Json, vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.verify_table import mended_text, table_text, verify_text
from qsup.cli.terminal import Style, stdout_style, stdout_width

_WORST_FIRST = (
    ("drift", exit_codes.FAILED),
    ("not placeable", exit_codes.FAILED),
    ("unknown", exit_codes.UNKNOWN),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `verify`."""
    parser.add_argument("vm", metavar="VM", nargs="?", help="a VM's name, its pages counted anew; without one: all VMs")
    parser.add_argument("--repair-memory", action="store_true", help="move this VM's misplaced pages first")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the truth table; the exit code tells the worst verdict. With --json: the tables (one VM: the table)."""
    client = client_of(args)
    mended = None
    if args.repair_memory:
        if args.vm is None:
            print("qsup: verify --repair-memory needs a VM's name", file=sys.stderr)
            return exit_codes.USAGE
        mended = client.post(vm_path(args.vm, "/repair-memory"), {})
    tables = _tables(client, args.vm)
    if args.json:
        print_json(_json_of(args.vm, tables, mended))
    else:
        if mended is not None:
            print_text(mended_text(mended))
        text_of = verify_text if args.vm is None else _one_text
        print_text(text_of(tables, stdout_style(), time.time(), stdout_width()))
    return _code_of(args.vm, tables)


def _tables(client: Client, name: str | None) -> list[Json]:
    if name is None:
        tables: list[Json] = client.get("/v1/verify")["vms"]
        return tables
    return [client.get(vm_path(name, "/verify"))]


def _one_text(tables: list[Json], style: Style, now_s: float, width: int | None) -> str:
    return table_text(tables[0], style, now_s, width)


def _json_of(name: str | None, tables: list[Json], mended: Json | None) -> object:
    if name is None:
        return tables
    return tables[0] if mended is None else {**tables[0], "repaired": mended}


def _code_of(name: str | None, tables: list[Json]) -> int:
    verdicts = {table["verdict"] for table in tables}
    if name is not None and "not running" in verdicts:
        return exit_codes.NOT_RUNNING
    return next((code for verdict, code in _WORST_FIRST if verdict in verdicts), exit_codes.DONE)
