"""What the demo says, and in which colours."""

from __future__ import annotations

import shlex
import sys
import time

from tests.live.harness import Daemon

_BEGUN_S = time.monotonic()


def scene(title: str) -> None:
    """The head of a scene, with the seconds since the demo began."""
    print(f"\n{_bold(f'── {title} ')}{_dim(f'({time.monotonic() - _BEGUN_S:.1f} s)')}", flush=True)


def say(text: str, indent: int = 2) -> None:
    """Some lines."""
    for line in text.splitlines():
        print(" " * indent + line, flush=True)


def typed(daemon: Daemon, *words: str, code: int | None = 0) -> str:
    """Run a command of qsup, show it as an operator would type it, and what it printed.

    Args:
        code: the exit status that is expected; None: any.
    """
    print(f"  {_dim('$')} {_bold(shlex.join(['qsup', *words]))}", flush=True)
    output = daemon.cli(*words, check=code).stdout
    say(output, 4)
    return output


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def _dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if sys.stdout.isatty() else text
