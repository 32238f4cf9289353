"""qsup top."""

from __future__ import annotations

import argparse
import sys

from qsup.api.client import Json
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.terminal import stdout_style, stdout_width
from qsup.cli.top.feed import target_of
from qsup.cli.top.frame_text import frame_text
from qsup.cli.top.pages import PAGES, THREADS
from qsup.cli.top.table import Table

_PIPED_WIDTH = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `top`."""
    names = [page.name for page in PAGES]
    parser.add_argument("vm", metavar="VM", nargs="?", help="a VM's name, for its threads")
    parser.add_argument("--once", action="store_true", help="print one frame as text, and end")
    parser.add_argument("--page", choices=names, default=names[0], help="the page to begin with")
    parser.add_argument("--sort", metavar="COLUMN", help="the head of the column to sort by, such as %%RDY")
    parser.add_argument("--filter", metavar="WORDS", default="", help="show rows that have all these words")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show everything live, or print one frame. With --json: one object, that of `/v1/top`."""
    tables = [Table(page) for page in PAGES]
    first = Table(THREADS) if args.vm else next(table for table in tables if table.page.name == args.page)
    first.filter(args.filter)
    if args.sort is not None and not first.sort_by(args.sort):
        heads = ", ".join(column.head for column in first.page.columns if column.head)
        print(f"qsup: there is no column {args.sort!r} on this page: {heads}", file=sys.stderr)
        return exit_codes.USAGE
    if args.once or args.json:
        return _print_one(args, first)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("qsup: the full screen needs a terminal\n  hint: qsup top --once, or qsup top --json", file=sys.stderr)
        return exit_codes.USAGE
    return _show(args, tables, first)


def _print_one(args: argparse.Namespace, table: Table) -> int:
    frame = _settled_frame(args)
    if frame is None:
        return exit_codes.NO_DAEMON
    if args.json:
        print_json(frame)
    else:
        print_text(frame_text(frame, table, stdout_style(), stdout_width() or _PIPED_WIDTH))
    return exit_codes.DONE


def _settled_frame(args: argparse.Namespace) -> Json | None:
    """The first frame whose rates are known as far as they will be."""
    frame = None
    for event in client_of(args).follow(target_of(args.vm)):
        frame = event.data if event.type == "message" else frame
        if frame is None or frame["settled"]:
            break
    return frame


def _show(args: argparse.Namespace, tables: list[Table], first: Table) -> int:
    client = client_of(args)
    client.get("/v1/host")  # a daemon that is not there is said before the screen changes
    from qsup.cli.top.app import TopApp
    from qsup.cli.top.feed import Feed

    app = TopApp(Feed(client), args.vm, tables, first)
    app.run(mouse=False)
    return exit_codes.DONE if app.return_code in (None, 0) else exit_codes.INTERNAL
