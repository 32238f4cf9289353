"""All guests are shut down because the host goes down, whatever has become of the daemon.

Strategy: through the daemon as long as it answers. A daemon that is dead, or dies meanwhile, leaves the rest to this process.
One that hangs is ended first, since two must not command one QEMU; guests outlive it. One that is just starting is waited for.
"""

from __future__ import annotations

import argparse
import sys
import time

from qsup.api.client import AnswerLost, Client, DaemonAbsent, Rejected
from qsup.cli.lifecycle import code_of_answers, give_orders, names_of_all
from qsup.cli.options import client_of

PATIENCE_S = 10.0
"""How long a daemon may be silent."""
_RETRY_S = 0.2
_NO_WORD = (AnswerLost, DaemonAbsent, Rejected)


def stop_all_guests(args: argparse.Namespace) -> int:
    """Stop every guest, each within its own grace period, and return the exit code.

    Raises:
        ClientError: this user may not, or the run directory's path is too long.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        code = _through_daemon(client_of(args), force=args.force)
        if code is not None:
            return code
        from qsup.daemon import guests  # trio and attrs are loaded where they are needed alone

        if time.monotonic() >= give_up_s and (pid := guests.end_daemon(args.run_dir)) is not None:
            print(f"qsup: the daemon, pid {pid}, does not answer: it was ended, guests are stopped without it", file=sys.stderr)
        code = guests.main(args)
        if code != guests.EXIT_IN_USE:
            return code
        time.sleep(_RETRY_S)


def _through_daemon(client: Client, *, force: bool) -> int | None:
    """Have the daemon do it; None where it does not answer, or no longer."""

    def silence() -> None:
        names_of_all(client, PATIENCE_S)

    try:
        names = names_of_all(client, PATIENCE_S)
        answers = give_orders(client, names, "stop", {"force": force, "wait": True}, silence=silence)
    except _NO_WORD as fault:
        print(f"qsup: {fault.message}", file=sys.stderr)
        return None
    if any(isinstance(answer, AnswerLost | DaemonAbsent) for answer in answers.values()):
        return None
    return code_of_answers(answers, names)

