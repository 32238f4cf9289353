"""Scopes: under systemd each VM lives in a unit of its own, outside the daemon's, so that it outlives it.

Strategy: each start has a bus connection of its own (a bus that was restarted meanwhile costs nothing), subscribes to
JobRemoved *before* the call, and waits for the result of its own job. Scopes are ordered before qsup-guests.service: at
shutdown systemd stops in reverse, so that service stops the guests in their own way before any QEMU gets a SIGTERM.

Source: org.freedesktop.systemd1(5), systemd.scope(5), systemd.unit(5).
"""

from __future__ import annotations

import errno
import os
import string
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from jeepney.wrappers import DBusErrorResponse

from qsup.errors import KernelRefused
from qsup.process.systemd_bus import BUS_ERRORS, Property, SystemdBus, open_systemd_bus

SLICE = "qsup.slice"
GUESTS_SERVICE = "qsup-guests.service"
SYSTEMD_RUNS = "/run/systemd/system"
DEADLINE_S = 20.0
LEFTOVER_S = 5.0
_STOP_TIMEOUT_US = 30_000_000
_RETRY_S = 0.05
_CONNECT_DEADLINE_S = 5.0
_UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
_ALLOWED = frozenset(string.ascii_letters + string.digits + ":_.-")


def scope_name(name: str) -> str:
    """The scope's unit name; what a unit name may not hold is written as \\xNN."""
    escaped = "".join(char if char in _ALLOWED else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in name)
    return f"qsup-{escaped}.scope"


class Scopes:
    """The way to systemd's scopes."""

    def __init__(self, bus: str) -> None:
        """`bus`: "SYSTEM" or a D-Bus address."""
        self._bus = bus

    def name_of(self, name: str) -> str:
        """The unit name of a VM's scope."""
        return scope_name(name)

    async def start(
        self, name: str, pid: int, description: str, *, slice: str = SLICE, properties: Sequence[Property] = ()
    ) -> str:
        """Put a process into a new scope for this VM.

        A leftover of that name (a failed unit, or one whose last process is just ending) is reset and waited for.

        Args:
            properties: more unit properties, each (name, (D-Bus signature, value)).

        Returns:
            The unit's name.

        Raises:
            KernelRefused: process.scope-refused (systemd said no, or the job failed), process.scope-in-use (a unit of that
                name lives on), process.scope-silent (no answer within 20 s).
        """
        unit = scope_name(name)
        try:
            with trio.fail_after(DEADLINE_S):
                async with open_systemd_bus(self._bus) as bus:
                    result = await _start(bus, unit, [*_properties(pid, description, slice), *properties])
        except trio.TooSlowError:
            raise _refused("process.scope-silent", unit, errno.ETIMEDOUT, f"no answer within {DEADLINE_S:.0f} s") from None
        except DBusErrorResponse as error:
            code = "process.scope-in-use" if error.name == _UNIT_EXISTS else "process.scope-refused"
            raise _refused(code, unit, errno.EBUSY, _reason_of(error)) from error
        except BUS_ERRORS as error:
            raise _refused("process.scope-refused", unit, errno.EIO, f"the bus was lost: {error!r}") from error
        if result != "done":
            raise _refused("process.scope-refused", unit, errno.ECANCELED, f"its job ended as {result!r}")
        return unit


def _properties(pid: int, description: str, slice: str) -> list[Property]:
    return [
        ("Description", ("s", description)),
        ("Slice", ("s", slice)),
        ("PIDs", ("au", [pid])),
        # Else a scope that failed keeps its name for ever.
        ("CollectMode", ("s", "inactive-or-failed")),
        ("Before", ("as", [GUESTS_SERVICE])),
        ("TimeoutStopUSec", ("t", _STOP_TIMEOUT_US)),
    ]


async def _start(bus: SystemdBus, unit: str, properties: list[Property]) -> str:
    """The result of the start job ("done" when all is well)."""
    await bus.watch_jobs()
    give_up_s = trio.current_time() + LEFTOVER_S
    while True:
        try:
            (job,) = await bus.ask("StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", properties, []))
        except DBusErrorResponse as error:
            if error.name != _UNIT_EXISTS or trio.current_time() >= give_up_s:
                raise
            await _reset(bus, unit)
            await trio.sleep(_RETRY_S)
        else:
            return await bus.wait_job(job)


async def _reset(bus: SystemdBus, unit: str) -> None:
    try:
        await bus.ask("ResetFailedUnit", "s", (unit,))
    except DBusErrorResponse:
        return  # it is not failed, but still ending


def _reason_of(error: DBusErrorResponse) -> str:
    return str(error.data[0]) if error.data else error.name


def _refused(code: str, unit: str, number: int, reason: str) -> KernelRefused:
    message = f"systemd did not make the scope {unit}: {reason}"
    return KernelRefused(code, f"org.freedesktop.systemd1 {unit}", number, message, f"look at `systemctl status {unit}`")


@asynccontextmanager
async def open_scopes(*, required: bool = False, bus: str = "SYSTEM") -> AsyncIterator[Scopes | None]:
    """The way to systemd; None where this host has no systemd or no bus.

    Raises:
        KernelRefused: process.no-systemd, where scopes are `required`.
    """
    problem = await _problem_of(bus)
    if problem is not None and required:
        hint = 'set scopes = "auto" in the settings, or run under systemd'
        raise KernelRefused("process.no-systemd", "org.freedesktop.systemd1", errno.ENOENT, problem, hint)
    yield Scopes(bus) if problem is None else None


async def _problem_of(bus: str) -> str | None:
    if bus == "SYSTEM" and not _systemd_runs():
        return f"this host does not run systemd: there is no {SYSTEMD_RUNS}"
    try:
        with trio.fail_after(_CONNECT_DEADLINE_S):
            async with open_systemd_bus(bus):
                return None
    except (*BUS_ERRORS, trio.TooSlowError) as error:
        return f"the system bus cannot be reached: {error!r}"


def _systemd_runs() -> bool:
    """Source: sd_booted(3)."""
    return os.path.isdir(SYSTEMD_RUNS)
