"""The process that is the lab: QEMU started, awaited, ended, with its folder of sockets, logs and its disk."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

from attrs import frozen

from .image import Image
from .monitor import Monitor
from .outer_qemu import Ram, argv
from .shapes import Shape

LISTEN_S = 60.0
POLL_S = 0.01


class MachineError(Exception):
    """The lab's QEMU did not do what it should."""


@frozen
class Frame:
    """What stays the same for a lab through all its boots."""

    image: Image
    shape: Shape
    folder: Path

    @property
    def disk(self) -> Path:
        """The lab's own overlay."""
        return self.folder / "disk.qcow2"

    @property
    def agent_socket(self) -> Path:
        """Where the agent's port is served."""
        return self.folder / "agent.sock"


class Machine:
    """A running QEMU that is a lab."""

    def __init__(self, frame: Frame, process: subprocess.Popen[bytes]) -> None:
        self.frame = frame
        self._process = process
        self._monitor: Monitor | None = None

    @classmethod
    def start(cls, frame: Frame, ram: Ram | None, state: Path | None) -> Machine:
        """Start QEMU, and bring in a template's state when there is one.

        Touches: the frame's folder (sockets, logs, `qemu.argv`); a process.
        """
        for name in ("agent.sock", "qmp.sock"):
            (frame.folder / name).unlink(missing_ok=True)
        command = argv(frame.image, frame.shape, frame.folder, frame.disk, ram, state is not None)
        (frame.folder / "qemu.argv").write_text(shlex.join(command) + "\n")
        with (frame.folder / "qemu.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        machine = cls(frame, process)
        try:
            monitor = machine.monitor()
            if state is not None:
                monitor.restore(state)
        except BaseException:
            machine.kill()
            raise
        return machine

    @property
    def pid(self) -> int:
        """The process id of the lab's QEMU."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether QEMU still runs."""
        return self._process.poll() is None

    def monitor(self) -> Monitor:
        """Return the connection to QEMU's monitor, waiting until QEMU listens."""
        deadline_s = time.monotonic() + LISTEN_S
        while self._monitor is None:
            try:
                self._monitor = Monitor(self.frame.folder / "qmp.sock")
            except OSError as problem:
                if not self.alive() or time.monotonic() > deadline_s:
                    raise MachineError(f"the lab's QEMU did not come up ({problem}):\n{self.log()}") from problem
                time.sleep(POLL_S)
        return self._monitor

    def log(self) -> str:
        """Return what QEMU said on its standard error."""
        return (self.frame.folder / "qemu.log").read_text(errors="replace")

    def wait_exit(self, timeout_s: float) -> None:
        """Wait until QEMU has ended by itself.

        Raises: MachineError: it has not, in that time.
        """
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise MachineError(f"the lab is still up after {timeout_s} s") from None
        self._close_monitor()

    def kill(self) -> None:
        """End QEMU at once, as a power cut."""
        self._close_monitor()
        self._process.kill()
        self._process.wait()

    def _close_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
