"""Printing: JSON, texts, faults."""

from __future__ import annotations

import json
import sys

from qsup.api.client import ClientError
from qsup.cli.render.fault import fault_text


def print_json(value: object) -> None:
    """JSON for a program; indented, since people look at it too."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_text(text: str) -> None:
    """Text that ends with one newline; nothing where it is empty."""
    if text:
        print(text.rstrip("\n"))


def print_fault(fault: ClientError, subject: str | None = None) -> None:
    """A fault on stderr."""
    sys.stdout.flush()
    print(fault_text(fault, subject), file=sys.stderr)
