"""qsup resume."""

from __future__ import annotations

import argparse

from qsup.cli.lifecycle import configure_lifecycle, run_lifecycle


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `resume`."""
    configure_lifecycle(parser)


def run(args: argparse.Namespace) -> int:
    """Give the order."""
    return run_lifecycle(args, "resume")
