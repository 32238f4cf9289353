"""What the guest says on its console: from its log, and through `qsup console`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.demo.screen import say
from tests.live.harness import Daemon

BOOT_S = 60.0
END_S = 10.0


def lines_of(log: str) -> list[str]:
    """The guest's own lines in the serial log, without the kernel's."""
    text = Path(log).read_bytes().decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.startswith("guest: ")]


def wait_for_line(log: str, words: str, patience_s: float = BOOT_S) -> list[str]:
    """Wait until the guest has said something; return all that it said.

    Raises: SystemExit: it did not.
    """
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        lines = lines_of(log) if Path(log).exists() else []
        if any(words in line for line in lines):
            return lines
        time.sleep(0.1)
    said = Path(log).read_bytes().decode(errors="replace")[-2000:] if Path(log).exists() else "nothing"
    raise SystemExit(f"demo: the guest did not say {words!r} within {patience_s:g} s. Its console:\n{said}")


class ConsoleReader:
    """`qsup console NAME`, read to its end: it ends with the guest."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        words = [sys.executable, "-m", "qsup.cli", "console", name, "--run-dir", str(daemon.run_dir)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def show_rest(self) -> list[str]:
        """Wait for its end, show what the guest said meanwhile and return it."""
        try:
            output, _ = self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
        say("\n".join(lines), 4)
        return lines
