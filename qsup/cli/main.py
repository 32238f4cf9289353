"""The entry point: one verb is chosen, only its module is loaded, only its parser is built."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from qsup.api.client import ClientError
from qsup.cli import exit_codes
from qsup.cli.output import print_fault
from qsup.cli.terminal import stdout_width
from qsup.cli.verb_table import VERBS, overview

_LEADING_VALUES = frozenset({"--run-dir"})


def entry(words: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; no traceback ever reaches the user."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = run(list(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains while it exits
        return exit_codes.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 (the user's terminal is the last place for a traceback)
        return _report_own_fault(error)


def run(words: list[str]) -> int:
    """Run one command line.

    Raises:
        SystemExit: argparse has said what is wrong with the words (code 2), or has printed help (code 0).
    """
    leading, words = _split_leading_options(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), file=sys.stdout if words else sys.stderr)
        return exit_codes.DONE if words else exit_codes.USAGE
    if words[0] == "--version":
        return _print_version()
    if words[0] not in VERBS:
        return _report_unknown_verb(words[0])
    return _run_verb(words[0], leading + words[1:])


def _run_verb(name: str, words: list[str]) -> int:
    verb = VERBS[name]
    module = importlib.import_module(verb.module)
    summary = verb.summary[0].upper() + verb.summary[1:] + "."
    parser = argparse.ArgumentParser(
        prog=f"qsup {name}", description=summary, allow_abbrev=False, formatter_class=_help_formatter
    )
    module.configure(parser)
    try:
        code: int = module.run(parser.parse_args(words))
    except ClientError as fault:
        print_fault(fault)
        return exit_codes.of_client_error(fault)
    return code


def _help_formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width argparse imports shutil, with bz2 and lzma, for every option that it is given.
    return argparse.HelpFormatter(prog, width=min((stdout_width() or 80) - 2, 100))


def _split_leading_options(words: list[str]) -> tuple[list[str], list[str]]:
    """Options before the verb (`qsup --run-dir DIR list`) and the rest from the verb on."""
    index = 0
    while index < len(words) and (words[index] == "--json" or words[index].startswith("--run-dir")):
        index += 2 if words[index] in _LEADING_VALUES else 1
    return words[:index], words[index:]


def _print_version() -> int:
    from qsup import __version__

    print(f"qsup {__version__}")
    return exit_codes.DONE


def _report_unknown_verb(word: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(word, VERBS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    print(f"qsup: there is no verb {word!r}\n  hint: {hint}qsup --help lists all", file=sys.stderr)
    return exit_codes.USAGE


def _report_own_fault(error: Exception) -> int:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
    print(f"qsup: a fault of qsup's own: {type(error).__name__}: {error}{where}\n  hint: please report it", file=sys.stderr)
    return exit_codes.INTERNAL
