"""Orders for several VMs at once: all are sent before the first is awaited, and each is reported when it is done."""

from __future__ import annotations

import argparse
import select
import sys
from collections.abc import Iterator, Mapping, Sequence

from qsup.api.client import Client, ClientError, Json, PendingReply, Rejected, vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_fault, print_json
from qsup.cli.terminal import printable

_AT_ONCE = 64


def configure_lifecycle(parser: argparse.ArgumentParser, *, takes_all: bool = False) -> None:
    """Add the words that every lifecycle verb takes."""
    parser.add_argument("vms", metavar="VM", nargs="*" if takes_all else "+", help="names of VMs")
    if takes_all:
        parser.add_argument("--all", action="store_true", help="every VM that the daemon knows")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is done")
    add_client_options(parser)


def run_lifecycle(args: argparse.Namespace, verb: str, body: Mapping[str, object] | None = None) -> int:
    """Give the order to each VM; returns the code of the first one that failed, in the order of the names.

    Raises:
        ClientError: the daemon cannot be asked at all.
    """
    client = client_of(args)
    names = _names_of(args, client)
    if names is None:
        return exit_codes.USAGE
    order = {**(body or {}), "wait": not args.no_wait}
    codes: dict[str, int] = {}
    results: dict[str, Json] = {}
    for name, answer in _answers(client, names, verb, order):
        codes[name] = _report(name, answer, quiet=args.json)
        results[name] = _result_of(name, answer)
    if args.json:
        print_json([results[name] for name in names])
    return next((codes[name] for name in names if codes[name]), exit_codes.DONE)


def _names_of(args: argparse.Namespace, client: Client) -> list[str] | None:
    wants_all = getattr(args, "all", False)
    if wants_all and not args.vms:
        return [vm["name"] for vm in client.get("/v1/vms")["vms"]]
    if wants_all or not args.vms:
        print("qsup: name VMs or say --all, one of the two", file=sys.stderr)
        return None
    return list(dict.fromkeys(args.vms))


def _report(name: str, answer: Json | ClientError, *, quiet: bool) -> int:
    if isinstance(answer, ClientError):
        print_fault(answer, name)
        return exit_codes.of_client_error(answer)
    if not quiet:
        print(f"{name}: {printable(answer['message'])}", flush=True)
    return exit_codes.DONE


def _result_of(name: str, answer: Json | ClientError) -> Json:
    if not isinstance(answer, ClientError):
        return answer
    error = answer.error if isinstance(answer, Rejected) else {"message": answer.message, "hint": answer.hint}
    return {"vm": name, "error": error}


def _answers(
    client: Client, names: Sequence[str], verb: str, order: Mapping[str, object]
) -> Iterator[tuple[str, Json | ClientError]]:
    """Each VM's answer as it comes."""
    waiting = list(reversed(names))
    pending: dict[int, tuple[str, PendingReply]] = {}
    poll = select.poll()
    while waiting or pending:
        while waiting and len(pending) < _AT_ONCE:
            name = waiting.pop()
            reply = client.send("POST", vm_path(name, f"/{verb}"), order)
            pending[reply.fileno()] = (name, reply)
            poll.register(reply, select.POLLIN)
        for fd, _ in poll.poll():
            name, reply = pending.pop(fd)
            poll.unregister(fd)
            yield name, _answer_of(reply)


def _answer_of(reply: PendingReply) -> Json | ClientError:
    try:
        return reply.read()
    except ClientError as fault:
        return fault
