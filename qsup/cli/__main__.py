"""`python -m qsup.cli` is `qsup`."""

from __future__ import annotations

import sys

from qsup.cli.main import entry

sys.exit(entry())
