"""A demo that was left up (KEEP=1), and how it is taken over again to be ended."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from qsup.api.client import DaemonAbsent
from tests.demo.leftovers import Before
from tests.live.harness import Daemon, until

NOTE = "demo.json"


def note(daemon: Daemon, bridge: str | None, before: Before) -> None:
    """Remember what has to be taken down."""
    facts = {"bridge": bridge, "links": sorted(before.links), "hugepages": before.hugepages}
    (daemon.root / NOTE).write_text(json.dumps(facts))


def taken_over(root: Path) -> tuple[Daemon, str | None, Before]:
    """The daemon, ended so that it can be started by us; the bridge; what the machine had before.

    Raises: SystemExit: there is no demo.
    """
    try:
        facts = json.loads((root / NOTE).read_text())
    except OSError as error:
        raise SystemExit(f"demo: {root} is no demo that was left up: {error.strerror}") from error
    daemon = Daemon(root)
    if _answers(daemon):
        os.kill(json.loads((daemon.run_dir / "daemon.lock").read_text())["pid"], signal.SIGTERM)
        until(lambda: not _answers(daemon), "the daemon has ended")
    return daemon, facts["bridge"], Before(frozenset(facts["links"]), facts["hugepages"])


def _answers(daemon: Daemon) -> bool:
    try:
        daemon.client.get("/v1/host")
    except DaemonAbsent:
        return False
    return True
