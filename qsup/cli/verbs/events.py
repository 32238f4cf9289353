"""qsup events."""

from __future__ import annotations

import argparse
import sys

from qsup.api.client import Client, Json, quote
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json
from qsup.cli.render.event_line import event_line
from qsup.cli.terminal import stdout_style

_FOLLOW_LINES = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `events`."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens (the last 10 first)")
    parser.add_argument("--vm", metavar="VM", help="only this VM's")
    parser.add_argument("-n", "--lines", metavar="N", type=_count, help="at most N of those that have happened")
    add_client_options(parser)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print the kept events, then follow. With --json: an array, or with -f one object a line."""
    client = client_of(args)
    wanted = f"vm={quote(args.vm)}" if args.vm else ""
    history = client.get(f"/v1/events?{wanted}")
    lines = args.lines if args.lines is not None else _FOLLOW_LINES if args.follow else None
    events = history["events"] if lines is None else history["events"][max(len(history["events"]) - lines, 0) :]
    if args.json and not args.follow:
        print_json(events)
        return exit_codes.DONE
    for event in events:
        _print_event(event, args.json)
    if args.follow:
        return _follow(client, f"/v1/events/stream?after={history['last_seq']}&{wanted}", args.json)
    return exit_codes.DONE


def _follow(client: Client, target: str, as_json: bool) -> int:
    for event in client.follow(target):
        if event.type == "lagged":
            print("qsup: this reader was too slow, events were lost; follow again", file=sys.stderr)
            return exit_codes.FAILED
        _print_event(event.data, as_json)
    return exit_codes.NO_DAEMON


def _print_event(event: Json, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(event, ensure_ascii=False), flush=True)
    else:
        print(event_line(event, stdout_style()), flush=True)
