"""A real daemon as a process of its own on directories of its own, with guests that cost nothing.

The guest is a 64 KiB ROM whose reset vector is `cli; hlt; jmp`: a KVM guest that executes a few instructions and sleeps.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qsup.api.client import Client, DaemonAbsent

ROM_BYTES = 64 << 10
RESET_VECTOR_OFFSET = ROM_BYTES - 16
HALT_LOOP = bytes.fromhex("faf4ebfd")  # cli; hlt; jmp to the hlt
PATIENCE_S = 60.0
_daemons = itertools.count()


def halt_rom(path: Path) -> Path:
    """Write the ROM."""
    image = bytearray(b"\xf4" * ROM_BYTES)
    image[RESET_VECTOR_OFFSET : RESET_VECTOR_OFFSET + len(HALT_LOOP)] = HALT_LOOP
    path.write_bytes(bytes(image))
    path.chmod(0o644)
    return path


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The condition's first true value; fails with `what` when it does not come."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {patience_s:.0f} s: {what}")


def own_uids() -> str:
    """Settings with uids that no other daemon of a parallel run gives to its VMs."""
    return f"\n[user]\nuid_first = {10_000_000 + (os.getpid() % 100_000) * 1000 + 50 * next(_daemons)}\nuid_count = 50\n"


class Daemon:
    """A daemon and what it works on."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.root = root
        self.config_dir = root / "vms.d"
        self.run_dir = root / "run"
        self.state_dir = root / "state"
        self.log = root / "daemon.log"
        self.settings = root / "settings.toml"
        for directory in (self.config_dir, self.run_dir, self.state_dir):
            directory.mkdir(exist_ok=True)
        self.settings.write_text(settings if "[user]" in settings else settings + own_uids())
        self.rom = halt_rom(root / "halt.rom")
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: tuple[str, ...] = ()

    @property
    def client(self) -> Client:
        return Client(str(self.run_dir))

    def start(self) -> None:
        """Start it and wait until its API answers."""
        words = [*self.prefix, sys.executable, "-m", "qsup.cli", "daemon", "--config-dir", str(self.config_dir)]
        words += ["--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir), "--settings", str(self.settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        until(self._answers, "the API answers")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log.read_text()}")
        try:
            self.client.get("/v1/host")
        except DaemonAbsent:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as systemd would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)
            self.process = None

    def drop(self, name: str, text: str) -> Path:
        """Drop a VM file as an editor does: complete at once."""
        path = self.config_dir / f"{name}.toml"
        fresh = self.root / f".{name}.new"
        fresh.write_text(text)
        os.rename(fresh, path)
        return path

    def halting(self, more: str = "", *, cpu: str = "vcpus = 1", memory: str = 'size = "32MiB"', grace_s: float = 0.2) -> str:
        """The text of a VM with the halting guest."""
        return (
            f'[vm]\ngrace_period_s = {grace_s}\n[cpu]\n{cpu}\nmodel = "qemu64"\n[memory]\n{memory}\n'
            f'[boot]\nbios = "{self.rom}"\n{more}\n'
        )

    def cli(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """One qsup command as an operator types it."""
        command = [sys.executable, "-m", "qsup.cli", *words]
        done = subprocess.run(
            command,
            env={**os.environ, "QSUP_RUN_DIR": str(self.run_dir)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.log.read_text()}"
        return done

    def vms(self) -> dict[str, dict[str, Any]]:
        """`qsup list --json`, by name."""
        listed: list[dict[str, Any]] = json.loads(self.cli("list", "--json").stdout)
        return {vm["name"]: vm for vm in listed}

    def view(self, name: str) -> dict[str, Any]:
        """`qsup status NAME --json`."""
        done = self.cli("status", name, "--json", check=None)
        assert done.returncode in (0, 3), f"{done.returncode}: {done.stderr}"  # 3: it does not run
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def wait_phase(self, name: str, phase: str) -> dict[str, Any]:
        """Wait until the VM is there, and return its view."""
        try:
            until(lambda: self._phase_is(name, phase), f"{name} is {phase}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.view(name)}\n{self.tasks()}") from None
        return self.view(name)

    def tasks(self) -> str:
        """The log's end, with where every task of the daemon is."""
        if self.process is None:
            return self.tail()
        before = len(self.log.read_bytes())
        self.process.send_signal(signal.SIGUSR1)
        with contextlib.suppress(AssertionError):
            until(lambda: len(self.log.read_bytes()) > before, "the tasks are printed", patience_s=5)
        return self.log.read_text()[-12000:]

    def tail(self) -> str:
        """The end of the daemon's log."""
        return self.log.read_text()[-4000:]

    def _phase_is(self, name: str, phase: str) -> bool:
        reply = self.client.get("/v1/vms")
        return any(vm["name"] == name and vm["phase"] == phase for vm in _vms_in(reply))

    def qemu_pids(self) -> list[int]:
        """The processes that hold files of this run directory's VMs: their QEMUs and stubs (each holds its run lock)."""
        own = self.process.pid if self.process is not None else 0
        inside = f"{self.run_dir}/vms/"
        return [pid for pid in pids() if pid != own and any(path.startswith(inside) for path in open_files_of(pid))]


def _vms_in(reply: dict[str, Any]) -> list[dict[str, Any]]:
    vms: list[dict[str, Any]] = reply["vms"]
    return vms


def pids() -> list[int]:
    """All processes."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def open_files_of(pid: int) -> set[str]:
    """The targets of a process' descriptors, empty where it is gone."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
    return found


@contextlib.contextmanager
def running_daemon(root: Path, settings: str = "") -> Iterator[Daemon]:
    """A started daemon; at the end every VM of it is ended, then the daemon, and nothing may be left."""
    daemon = Daemon(root, settings)
    daemon.start()
    try:
        yield daemon
    finally:
        clean_up(daemon)


def clean_up(daemon: Daemon) -> None:
    """End all VMs by their files and verbs, and the daemon; what then still lives is killed by its pid."""
    for path in daemon.config_dir.glob("*.toml"):
        path.unlink()
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()
    daemon.cli("stop", "--all", "--force", check=None)
    left = list(daemon.vms().values())
    daemon.stop()
    for pid in daemon.qemu_pids():
        os.kill(pid, signal.SIGKILL)
    assert all(vm["pid"] is None for vm in left), f"still alive after stop --all --force: {left}\n{daemon.tail()}"
