"""Orders for several VMs at once: all are sent before the first is awaited, and each is reported when it is done."""

from __future__ import annotations

import argparse
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from qsup.api.client import Client, ClientError, Json, PendingReply, Rejected, vm_path
from qsup.cli import exit_codes
from qsup.cli.options import add_client_options, client_of
from qsup.cli.output import print_fault, print_json
from qsup.cli.terminal import printable

_AT_ONCE = 64
_SILENCE_MS = 5000


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
    answers = give_orders(client, names, verb, {**(body or {}), "wait": not args.no_wait}, quiet=args.json)
    if args.json:
        print_json([_result_of(name, answers[name]) for name in names])
    return code_of_answers(answers, names)


def give_orders(
    client: Client,
    names: Sequence[str],
    verb: str,
    order: Mapping[str, object],
    *,
    quiet: bool = False,
    silence: Callable[[], None] | None = None,
) -> dict[str, Json | ClientError]:
    """Give the order to each VM and report each answer as it comes, unless `quiet`.

    Args:
        silence: called whenever no answer has come for some seconds; what it raises ends the waiting.

    Returns:
        The answers, by name.

    Raises:
        ClientError: the daemon cannot be asked at all.
    """
    answers = {}
    for name, answer in _answers(client, names, verb, order, silence):
        _report(name, answer, quiet=quiet)
        answers[name] = answer
    return answers


def code_of_answers(answers: Mapping[str, Json | ClientError], names: Sequence[str]) -> int:
    """The exit code of the first one that failed, in the order of the names."""
    faults = (answer for name in names if isinstance(answer := answers[name], ClientError))
    return next((code for fault in faults if (code := exit_codes.of_client_error(fault))), exit_codes.DONE)


def names_of_all(client: Client, timeout_s: float | None = None) -> list[str]:
    """Every VM that the daemon knows.

    Raises:
        ClientError: of any class.
    """
    reply = client.get("/v1/vms") if timeout_s is None else client.send("GET", "/v1/vms", timeout_s=timeout_s).read()
    return [vm["name"] for vm in reply["vms"]]


def _names_of(args: argparse.Namespace, client: Client) -> list[str] | None:
    wants_all = getattr(args, "all", False)
    if wants_all and not args.vms:
        return names_of_all(client)
    if wants_all or not args.vms:
        print("qsup: name VMs or say --all, one of the two", file=sys.stderr)
        return None
    return list(dict.fromkeys(args.vms))


def _report(name: str, answer: Json | ClientError, *, quiet: bool) -> None:
    if isinstance(answer, ClientError):
        print_fault(answer, name)
    elif not quiet:
        print(f"{name}: {printable(answer['message'])}", flush=True)


def _result_of(name: str, answer: Json | ClientError) -> Json:
    if not isinstance(answer, ClientError):
        return answer
    error = answer.error if isinstance(answer, Rejected) else {"message": answer.message, "hint": answer.hint}
    return {"vm": name, "error": error}


def _answers(
    client: Client,
    names: Sequence[str],
    verb: str,
    order: Mapping[str, object],
    silence: Callable[[], None] | None,
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
        ready = poll.poll(None if silence is None else _SILENCE_MS)
        if not ready and silence is not None:
            silence()
        for fd, _ in ready:
            name, reply = pending.pop(fd)
            poll.unregister(fd)
            yield name, _answer_of(reply)


def _answer_of(reply: PendingReply) -> Json | ClientError:
    try:
        return reply.read()
    except ClientError as fault:
        return fault
