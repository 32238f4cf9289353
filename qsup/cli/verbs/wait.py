"""qsup wait."""

from __future__ import annotations

import argparse
import sys

from qsup.api.client import Client, Json, quote
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.wait_text import history_text, wait_text
from qsup.cli.terminal import stdout_style, stdout_width


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `wait`."""
    parser.add_argument("vm", metavar="VM", nargs="?", help="a VM's name, for every thread of it and its last hour")
    parser.add_argument("-w", "--watch", action="store_true", help="go on, once a second")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print one second's waiting, or with --watch one after the other. With --json: an object, or with --watch one a line."""
    client = client_of(args)
    query = f"?vm={quote(args.vm)}" if args.vm else ""
    for event in client.follow(f"/v1/wait/stream{query}"):
        if event.type == "lagged":
            print("qsup: this reader was too slow; watch again", file=sys.stderr)
            return exit_codes.FAILED
        if args.watch:
            _print_watched(event.data, args)
        elif event.data["blamed"]:
            _print_once(client, event.data, args)
            return exit_codes.DONE
    return exit_codes.NO_DAEMON


def _print_watched(report: Json, args: argparse.Namespace) -> None:
    if args.json:
        import json

        print(json.dumps(report, ensure_ascii=False), flush=True)
    else:
        print(wait_text(report, args.vm is not None, stdout_style(), stdout_width()) + "\n", flush=True)


def _print_once(client: Client, report: Json, args: argparse.Namespace) -> None:
    history = client.get(f"/v1/wait?vm={quote(args.vm)}")["history"] if args.vm else None
    if args.json:
        print_json(report if history is None else {**report, "history": history})
        return
    print_text(wait_text(report, args.vm is not None, stdout_style(), stdout_width()))
    if history:
        print_text("\n" + history_text(history, stdout_style(), stdout_width()))
