"""A terminal of 80 × 24 for a command: what it writes, and keys for it. Texts are read without their escape sequences."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.cli.running import ENVIRONMENT, REPOSITORY

PATIENCE_S = 60.0
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX^_][^\x1b]*\x1b\\|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>])")
_QUIET_S = 0.3


class Terminal:
    """The other end of a command's terminal."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._master = master
        self.raw = b""

    @property
    def text(self) -> str:
        """Everything so far, without what steers the terminal."""
        return _ESCAPES.sub(b"", self.raw).decode("utf-8", "replace")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def until(self, text: str) -> None:
        """Read until the text has been written; fails where it is not, or the command ends."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.text:
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {text!r} in\n{self.text[-1500:]}"
            assert self._read(1.0) or self.process.poll() is None, f"it ended without {text!r}:\n{self.text[-4000:]}"

    def forget(self) -> None:
        """What was written so far counts no more."""
        self.raw = b""

    def until_more(self) -> None:
        """Read until anything is written."""
        assert self._read(PATIENCE_S), "nothing was written"

    def until_quiet(self) -> None:
        """Read until nothing more comes."""
        while self._read(_QUIET_S):
            pass

    def until_ended(self) -> int:
        """Read until the command ends; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.text[-4000:]}"
            self._read(0.2)
        self.until_quiet()
        return int(self.process.returncode)

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], wait_s)
        data = b""
        if ready:
            with contextlib.suppress(OSError):  # EIO: the command has closed its end
                data = os.read(self._master, 1 << 16)
        self.raw += data
        return bool(data)


@contextlib.contextmanager
def on_terminal(
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    feed: int | None = None,
    size: tuple[int, int] = (80, 24),
) -> Iterator[Terminal]:
    """Run a command on a terminal of its own; `feed` is a descriptor that it inherits."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def prepare() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        list(words),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=prepare,
        pass_fds=(feed,) if feed is not None else (),
        cwd=REPOSITORY,
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | dict(environment or {}),
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
