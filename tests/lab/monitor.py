"""The lab's own QEMU over QMP: the few commands that saving, cloning and unplugging a lab need."""

from __future__ import annotations

import json
import shlex
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POLL_S = 0.01
ANSWER_S = 120.0


class MonitorError(Exception):
    """QEMU refused a command, or is gone."""


class Monitor:
    """A connection to the monitor of the lab's QEMU."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.connect(str(path))
            self._stream = self._socket.makefile("rwb")
            self._read()
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the connection; QEMU goes on."""
        self._stream.close()
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its result.

        Raises: MonitorError: QEMU's own words.
        """
        line = json.dumps({"execute": command, "arguments": {name.replace("_", "-"): arguments[name] for name in arguments}})
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MonitorError(f"{command}: {answer['error']['desc']}")

    def restore(self, state: Path) -> None:
        """Bring in a template's state (all but its memory, which is mapped) and run."""
        self._migrate_without_memory()
        self.execute("migrate-incoming", uri=f"exec:cat {shlex.quote(str(state))}")
        while self.execute("query-status")["status"] == "inmigrate":
            time.sleep(POLL_S)
        if not self.execute("query-status")["running"]:
            self.execute("cont")

    def save(self, state: Path) -> None:
        """Stop the lab and write its state beside its memory's files."""
        self.execute("stop")
        self._migrate_without_memory()
        self.execute("migrate-set-parameters", max_bandwidth=1 << 40)
        self.execute("migrate", uri=f"exec:cat > {shlex.quote(str(state))}")
        while (status := self.execute("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise MonitorError(f"saving the lab's state: {self.execute('query-migrate')}")
            time.sleep(POLL_S)

    def _migrate_without_memory(self) -> None:
        self.execute("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def _read(self) -> Mapping[str, Any]:
        line = self._stream.readline()
        if not line:
            raise MonitorError("the lab's QEMU closed its monitor")
        answer: Mapping[str, Any] = json.loads(line)
        return answer
