"""A lab as a test sees it: a host of its own that runs commands, gives and takes files, reboots and dies."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from .before_off import keep
from .channel import Channel, Command, NoAnswer, Streams
from .machine import Frame, Machine

COMMAND_S = 120.0
ANSWER_S = 60.0
BOOT_S = 300.0
POLL_S = 0.3


@frozen
class Done:
    """A command that has ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class CommandFailed(AssertionError):
    """A command in the lab did not end with status 0."""

    def __init__(self, done: Done) -> None:
        super().__init__(f"{list(done.argv)} ended with status {done.status}\n{done.stdout}{done.stderr}")
        self.done = done


class Lab:
    """A running host. Commands run as root, one at a time; what is to go on by itself belongs into a unit."""

    def __init__(self, frame: Frame, machine: Machine) -> None:
        self.frame = frame
        self.shape = frame.shape
        self._machine: Machine | None = machine
        self._channel = Channel(frame.agent_socket)

    @property
    def machine(self) -> Machine:
        """The QEMU that is the lab.

        Raises: NoAnswer: the lab is powered off.
        """
        if self._machine is None:
            raise NoAnswer("the lab is powered off")
        return self._machine

    # --- commands

    def run(
        self,
        *argv: str,
        check: bool = True,
        stdin: str | bytes = b"",
        timeout_s: float = COMMAND_S,
        cwd: str = "/root",
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command to its end.

        Raises:
            CommandFailed: its status is not 0 (unless check is False).
            TimeoutError: it took too long and was killed.
            NoAnswer: the lab is gone.
        """
        out, err = bytearray(), bytearray()
        data = stdin.encode() if isinstance(stdin, str) else stdin
        streams = Streams(out.extend, err.extend, data)
        status = self.stream(Command(argv, cwd, env or {}), streams, timeout_s=timeout_s)
        done = Done(argv, status, out.decode(errors="replace"), err.decode(errors="replace"))
        if check and status != 0:
            raise CommandFailed(done)
        return done

    def sh(self, script: str, *, check: bool = True, timeout_s: float = COMMAND_S) -> str:
        """Run a shell script (with -eu) and return what it wrote to its standard output."""
        return self.run("sh", "-euc", script, check=check, timeout_s=timeout_s).stdout

    def stream(self, command: Command, streams: Streams, *, timeout_s: float, answer_s: float = ANSWER_S) -> int:
        """Run a command with the caller's streams and return its status."""
        if not self.machine.alive():
            raise NoAnswer(f"the lab's QEMU has ended:\n{self.machine.log()}")
        return self._channel.run(command, streams, timeout_s=timeout_s, answer_s=answer_s)

    def answers_within(self, seconds: float) -> None:
        """Make sure that the lab runs a command within some seconds.

        Raises: NoAnswer, TimeoutError: it does not.
        """
        self.stream(Command(["true"]), Streams(bytes, bytes), timeout_s=seconds, answer_s=seconds)

    def wait_until(self, what: str, seen: Callable[[], bool], timeout_s: float = COMMAND_S) -> None:
        """Look again and again until something is so.

        Raises: AssertionError: it is not so after that time; names `what`.
        """
        deadline_s = time.monotonic() + timeout_s
        while not seen():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not so after {timeout_s} s: {what}")
            time.sleep(POLL_S)

    def wait_for_text(self, path: str, text: str, timeout_s: float = COMMAND_S) -> str:
        """Wait until a file of the lab holds a text, as a guest's console its marker; return the file.

        Raises: AssertionError: it does not after that time; shows the file's end.
        """
        script = 'until grep -aqF -- "$1" "$2" 2>/dev/null; do sleep 0.2; done'
        try:
            self.run("sh", "-c", script, "sh", text, path, timeout_s=timeout_s)
        except TimeoutError:
            end = self.run("tail", "-c", "4000", path, check=False)
            raise AssertionError(f"{path} has no {text!r} after {timeout_s} s:\n{end.stdout}{end.stderr}") from None
        return self.read(path)

    # --- files

    def write(self, path: str, text: str | bytes) -> None:
        """Write a file in the lab, with the folders above it; it appears whole, by a rename."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1.new~" && mv "$1.new~" "$1"'
        self.run("sh", "-euc", script, "sh", path, stdin=text)

    def read(self, path: str) -> str:
        """Return a file of the lab, /proc and /sys included."""
        return self.run("cat", path).stdout

    def put(self, here: Path, there: str) -> None:
        """Copy a file or the content of a folder into a folder of the lab."""
        folder, name = (here, ".") if here.is_dir() else (here.parent, here.name)
        words = ["tar", "-C", str(folder), "--exclude=.git", "--exclude=__pycache__", "-cf", "-", name]
        packed = subprocess.run(words, capture_output=True, check=True).stdout
        self.run("sh", "-euc", 'mkdir -p "$1" && tar -C "$1" --no-same-owner -xf -', "sh", there, stdin=packed)

    def get(self, there: str, here: Path) -> None:
        """Copy the content of a folder of the lab into a folder."""
        here.mkdir(parents=True, exist_ok=True)
        packed = bytearray()
        # 1: a file changed while it was read
        status = self.stream(Command(["tar", "-C", there, "-cf", "-", "."]), Streams(packed.extend, bytes), timeout_s=COMMAND_S)
        if status > 1:
            raise AssertionError(f"reading {there} from the lab: tar ended with status {status}")
        subprocess.run(["tar", "-C", here, "--no-same-owner", "-xf", "-"], input=bytes(packed), check=True)

    # --- evidence

    def journal(self, *words: str) -> str:
        """Return the journal; words are journalctl's own, as `-u qsup`."""
        return self.run("journalctl", "--no-pager", "-o", "short-precise", *words).stdout

    def streamed_journal(self) -> str:
        """Return the journal as it left the lab line by line, from all its boots: readable when the lab is dead."""
        return (self.frame.folder / "journal.log").read_text(errors="replace")

    def console(self) -> str:
        """Return what the lab's kernel said on its serial console."""
        return (self.frame.folder / "console.log").read_text(errors="replace")

    # --- life

    def boot_id(self) -> str:
        """Return the id of the lab's present boot."""
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    def reboot(self) -> None:
        """Reboot in good order and wait until the new boot is complete."""
        before = self.boot_id()
        keep(self)
        self.run("systemctl", "reboot", "--no-block")
        self.wait_until("the lab has rebooted", lambda: self._other_boot(before), BOOT_S)
        self.wait_booted()

    def power_off(self, timeout_s: float = BOOT_S) -> None:
        """Power off in good order and wait until the lab is off; its disk stays."""
        keep(self)
        self.run("systemctl", "poweroff", "--no-block")
        self.wait_off(timeout_s)

    def wait_off(self, timeout_s: float = BOOT_S) -> None:
        """Wait until the lab has powered off by itself."""
        self.machine.wait_exit(timeout_s)
        self._channel.close()
        self._machine = None

    def cut_power(self) -> None:
        """Cut the power: nothing is written any more; the disk stays."""
        keep(self)
        self._channel.close()
        self.machine.kill()
        self._machine = None

    def power_on(self) -> None:
        """Boot the powered-off lab from its disk and wait until the boot is complete."""
        if self._machine is not None:
            raise AssertionError("the lab is not off")
        self._machine = Machine.start(self.frame, None, None)
        self.wait_booted()

    def wait_booted(self) -> None:
        """Wait until systemd says that the boot is complete.

        Raises: AssertionError: it ended degraded; names the failed units.
        """
        words = Command(["systemctl", "is-system-running", "--wait"])
        state = bytearray()
        self.stream(words, Streams(state.extend, bytes), timeout_s=BOOT_S, answer_s=BOOT_S)
        if state.strip() != b"running":
            raise AssertionError(f"the lab is {state.decode().strip()}:\n{self.run('systemctl', '--failed').stdout}")

    def settle(self) -> None:
        """Flush the lab's disk and let the agent's port go: the lab may be saved now."""
        self.run("sync")
        self._channel.close()

    def close(self) -> None:
        """End the lab and remove its folder."""
        self._channel.close()
        if self._machine is not None:
            self._machine.kill()
            self._machine = None
        shutil.rmtree(self.frame.folder, ignore_errors=True)

    def _other_boot(self, before: str) -> bool:
        id_now = bytearray()
        words = Command(["cat", "/proc/sys/kernel/random/boot_id"])
        try:
            self.stream(words, Streams(id_now.extend, bytes), timeout_s=10, answer_s=1)
        except (NoAnswer, TimeoutError):
            return False
        return id_now.decode().strip() not in ("", before)


def new_folder() -> Path:
    """Return an empty folder for a lab; its name is short, since sockets lie in it."""
    return Path(tempfile.mkdtemp(prefix="qsup-lab."))


def make_overlay(backing: Path, backing_format: str, overlay: Path) -> None:
    """Make an empty qcow2 overlay over a disk that is not written to any more."""
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", backing_format, str(overlay)]
    subprocess.run(words, check=True)
