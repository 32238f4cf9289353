"""What a QEMU binary can do, asked once per binary from a short-lived `-machine none` QEMU over a socketpair."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import trio
from attrs import define, frozen

from qsup.argv.caps import QemuCaps
from qsup.errors import QemuFailed, QmpLost, QmpRefused
from qsup.qmp import verbs
from qsup.qmp.session import QmpSession, open_session

PROBE_TIMEOUT_S = 30.0
# QEMU stays when its monitor's client goes. So a shell holds it that ends with the daemon: the shell's standard output is the
# reading end of a pipe that only the daemon writes; its standard input is the monitor's socket, which it leaves to QEMU.
PROBE_SCRIPT = 'exec 3<&0 <&-; "$@" <&3 3<&- & exec 3<&-; read -r _ <&1; { kill -KILL $!; wait $!; } 2>/dev/null'
# thread-context, and JSON for -netdev: both came with 7.2 (QEMU wiki, ChangeLog/7.2).
OLDEST_VERSION = (7, 2, 0)


@frozen
class _BinaryStamp:
    path: str
    inode: int
    mtime_ns: int


class CapsCache:
    """The capabilities of each binary, asked again only when the file changes."""

    def __init__(self) -> None:
        self._known: dict[_BinaryStamp, QemuCaps] = {}
        self._lock = trio.Lock()

    async def caps_of(self, binary: str) -> QemuCaps:
        """The capabilities of `binary` (a path, or a name looked up in PATH).

        Raises:
            QemuFailed: `supervisor.qemu-missing`, `supervisor.qemu-too-old`, `supervisor.qemu-probe`.
        """
        path = shutil.which(binary)
        if path is None:
            raise QemuFailed(
                "supervisor.qemu-missing",
                f"there is no executable {binary!r}",
                "not started",
                "",
                "install qemu-system-x86, or name the binary under [daemon] qemu in the settings",
            )
        status = os.stat(path)
        stamp = _BinaryStamp(path, status.st_ino, status.st_mtime_ns)
        async with self._lock:
            if stamp not in self._known:
                self._known[stamp] = await probe_caps(path)
            return self._known[stamp]


async def probe_caps(binary: str) -> QemuCaps:
    """Start `binary` with no machine, ask, and let it quit.

    Raises:
        QemuFailed: it does not start, does not answer, or is older than 7.2.
    """
    words = ["sh", "-c", PROBE_SCRIPT, "qsup-probe", binary]
    words += ["-machine", "none", "-display", "none", "-nodefaults", "-no-user-config", "-S"]
    words += ["-chardev", "socket,id=qmp,fd=0", "-mon", "chardev=qmp,mode=control"]
    caps: QemuCaps | None = None
    async with _probe(words) as (process, stream):
        try:
            caps = await _ask(stream)
        except (QmpLost, QmpRefused, trio.TooSlowError) as error:
            trouble = str(error) or "silence"
        await stream.aclose()
    # Raised only here: the nursery of the probe would wrap it into a group.
    if caps is None:
        message = f"{binary} did not say what it can do: {trouble}"
        hint = f"run `{binary} --version` by hand and mend what it says, or reinstall qemu-system-x86"
        raise QemuFailed("supervisor.qemu-probe", message, "no answer", process.last_words, hint)
    if caps.version < OLDEST_VERSION:
        raise _too_old(binary, caps.version)
    return caps


def _too_old(binary: str, version: tuple[int, int, int]) -> QemuFailed:
    dotted, oldest = (".".join(map(str, numbers)) for numbers in (version, OLDEST_VERSION[:2]))
    message = f"{binary} is QEMU {dotted}; {oldest} or later is needed"
    hint = "install a newer qemu-system-x86, or name another binary under [daemon] qemu in the settings"
    return QemuFailed("supervisor.qemu-too-old", message, "refused", "", hint)


@asynccontextmanager
async def _probe(words: Sequence[str]) -> AsyncIterator[tuple[_Shell, trio.SocketStream]]:
    """The shell with its QEMU, and the monitor; both processes are gone at the end."""
    ours, theirs = socket.socketpair()
    life_read, life_write = os.pipe()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    try:
        process = await trio.lowlevel.open_process(words, stdin=theirs, stdout=life_read, stderr=subprocess.PIPE)
    except BaseException:
        os.close(life_write)
        raise
    finally:
        theirs.close()
        os.close(life_read)
    shell = _Shell()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shell.listen, process)
            try:
                yield shell, stream
            finally:
                os.close(life_write)
    finally:
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.aclose_forcefully(stream)


@define
class _Shell:
    """What shell and QEMU wrote to stderr, its end."""

    last_words: str = ""

    async def listen(self, process: trio.Process) -> None:
        words = b""
        if process.stderr is not None:
            with trio.CancelScope(shield=True):
                async with process.stderr:
                    async for chunk in process.stderr:
                        words = (words + chunk)[-4096:]
        self.last_words = words.decode(errors="replace").strip()


async def _ask(stream: trio.SocketStream) -> QemuCaps:
    with trio.fail_after(PROBE_TIMEOUT_S):
        async with open_session(stream, greeting_timeout_s=PROBE_TIMEOUT_S) as session:
            caps = await _caps_from(session)
            await verbs.quit_(session)
    return caps


async def _caps_from(session: QmpSession) -> QemuCaps:
    machines = await verbs.query_machines(session)
    types = await verbs.qom_list_types(session)
    cpus = await verbs.query_cpu_definitions(session)
    return QemuCaps(
        version=session.greeting.version,
        machines=frozenset(machine.name for machine in machines),
        machine_aliases={machine.alias: machine.name for machine in machines if machine.alias},
        object_types=types,
        cpu_models=frozenset(cpu.name for cpu in cpus),
        aio_modes=aio_modes_in(await verbs.query_qmp_schema(session)),
    )


def aio_modes_in(schema: Iterable[object]) -> frozenset[str]:
    """The aio modes of blockdev-add's file driver, out of QEMU's schema (docs/devel/qapi-code-gen.rst, introspection).

    The empty set where the schema has another shape: then no mode is claimed.
    """
    entities = {entity["name"]: entity for entity in schema if isinstance(entity, dict) and isinstance(entity.get("name"), str)}
    try:
        options = entities[entities["blockdev-add"]["arg-type"]]
        file = entities[next(variant["type"] for variant in options["variants"] if variant["case"] == "file")]
        aio = entities[next(member["type"] for member in file["members"] if member["name"] == "aio")]
        return frozenset(str(value) for value in aio["values"])
    except (KeyError, TypeError, StopIteration):
        return frozenset()
