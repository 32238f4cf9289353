"""A real QEMU from an Argv: descriptors opened as FdNeed says, a line of QMP at a time, and nothing left behind."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Argv, FdNeed

QEMU = "qemu-system-x86_64"
TIMEOUT_S = 60.0
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
UNPRIVILEGED = (
    *("unshare", "--net", "--mount", "--ipc", "--propagation", "unchanged", "--"),
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"),
)


class Died(Exception):
    """QEMU ended before it answered; the text is what it said."""


class Qmp:
    """One QMP connection."""

    def __init__(self, stream: socket.socket) -> None:
        self._lines = stream.makefile("rw", encoding="utf-8")
        self.events: list[str] = []

    def read(self) -> dict[str, Any]:
        """The next message. Raises Died when there is none."""
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            line = ""
        if not line:
            raise Died
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def ask(self, command: str, **arguments: object) -> Any:
        """The answer's `return`; events that come before it are kept."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}))
        self._lines.flush()
        while True:
            message = self.read()
            if "event" not in message:
                break
            self.events.append(message["event"])
        assert "return" in message, message
        return message["return"]

    def wait_event(self, name: str) -> None:
        """Returns once the event has come."""
        while name not in self.events:
            self.events.append(self.read().get("event", ""))


class LiveQemu:
    """A QEMU that answers."""

    def __init__(self, process: subprocess.Popen[bytes], qmp: Qmp) -> None:
        self.process = process
        self.qmp = qmp

    def ask(self, command: str, **arguments: object) -> Any:
        """Through the acting monitor."""
        return self.qmp.ask(command, **arguments)


@contextmanager
def running(argv: Argv, *, unprivileged: bool = False, taps: Mapping[str, int] | None = None) -> Iterator[LiveQemu]:
    """QEMU with this command line, greeted on both monitors. `taps` has the descriptors of kind "tap" by name.

    Raises:
        Died: it did not come up.
    """
    fds = _open_all(argv.fds, dict(taps or {}))
    prefix = UNPRIVILEGED if unprivileged else ()
    try:
        words = [*prefix, *argv.words(fds)]
        process = subprocess.Popen(words, pass_fds=tuple(fds.values()), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    finally:
        for fd in fds.values():
            os.close(fd)
    try:
        with _connected(argv, "qmp") as acting, _connected(argv, "telemetry") as reading:
            yield _greeted(process, acting, reading)
    finally:
        process.kill()
        process.communicate()


def _greeted(process: subprocess.Popen[bytes], acting: Qmp, reading: Qmp) -> LiveQemu:
    try:
        for monitor in (acting, reading):
            assert "QMP" in monitor.read()
            monitor.ask("qmp_capabilities")
    except Died:
        _, said = process.communicate(timeout=TIMEOUT_S)
        raise Died(said.decode()) from None
    return LiveQemu(process, acting)


@contextmanager
def _connected(argv: Argv, name: str) -> Iterator[Qmp]:
    with connected(next(need.path for need in argv.fds if need.name == name)) as stream:
        yield Qmp(stream)


@contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    """A stream to a Unix socket that listens already."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(TIMEOUT_S)
        stream.connect(path)
        yield stream


def _open_all(needs: tuple[FdNeed, ...], opened: dict[str, int]) -> dict[str, int]:
    for need in needs:
        if need.name not in opened:
            opened[need.name] = _open(need)
    return opened


def _open(need: FdNeed) -> int:
    match need.kind:
        case "listen":
            Path(need.path).parent.mkdir(parents=True, exist_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(need.path)
            listener.listen(1)
            return listener.detach()
        case "log":
            Path(need.path).parent.mkdir(parents=True, exist_ok=True)
            return os.open(need.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        case "image":
            return os.open(need.path, (os.O_RDONLY if need.readonly else os.O_RDWR) | (os.O_DIRECT if need.direct else 0))
        case "blob":
            return os.open(need.path, os.O_RDONLY)
        case "vhost":
            return os.open("/dev/vhost-net", os.O_RDWR)
        case "tap":
            raise AssertionError("taps are given by the test")


def open_tap(name: str, *, several: bool) -> int:
    """One queue of a tap, as the host room opens it."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if several else 0)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return fd


def real_caps() -> QemuCaps:
    """What the binary of this machine says that it can."""
    ours, theirs = socket.socketpair()
    ours.settimeout(TIMEOUT_S)
    words = [QEMU, "-machine", "none", "-nodefaults", "-display", "none"]
    words += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
    with ours, subprocess.Popen(words, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL) as process:
        theirs.close()
        qmp = Qmp(ours)
        assert "QMP" in qmp.read()
        # One after the other: a QEMU that is told to quit does not wait until its last answers are read.
        qmp.ask("qmp_capabilities")
        numbers = qmp.ask("query-version")["qemu"]
        machines, types = qmp.ask("query-machines"), qmp.ask("qom-list-types")
        models = qmp.ask("query-cpu-definitions")
        qmp.ask("quit")
        process.wait(TIMEOUT_S)
    return QemuCaps(
        version=(numbers["major"], numbers["minor"], numbers["micro"]),
        machines=frozenset(machine["name"] for machine in machines),
        machine_aliases={machine["alias"]: machine["name"] for machine in machines if "alias" in machine},
        object_types=frozenset(found["name"] for found in types),
        cpu_models=frozenset(model["name"] for model in models),
    )


def has_qemu() -> bool:
    """Whether this machine has the binary."""
    return shutil.which(QEMU) is not None


def has_kvm() -> bool:
    """Whether /dev/kvm can be opened."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def is_root() -> bool:
    """Whether the tests run as root."""
    return os.geteuid() == 0
