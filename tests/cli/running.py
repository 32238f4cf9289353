"""The command line as a real process, against a real server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from tests.api.serving import Served

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"], "TZ": "UTC", "LANG": "C.UTF-8"}


@frozen
class Ran:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def words_of(*words: str) -> list[str]:
    """The words of a process that runs `qsup …`."""
    return [sys.executable, "-m", "qsup.cli", *words]


async def qsup(*words: str, served: Served | None = None, stdin: bytes = b"", **environment: str) -> Ran:
    """Run one command; no traceback ever reaches the user."""
    if served is not None:
        environment["QSUP_RUN_DIR"] = str(served.run_dir)
    done = await trio.run_process(
        words_of(*words), check=False, capture_stdout=True, capture_stderr=True, stdin=stdin, env=ENVIRONMENT | environment
    )
    ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in ran.err
    return ran
