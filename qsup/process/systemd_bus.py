"""A conversation with systemd over D-Bus: one task, one question at a time, and the jobs that end meanwhile.

jeepney's router would need a task of its own, whose failures arrive as groups; one task that reads until its answer comes has
nothing to match.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from jeepney import DBusAddress, HeaderFields, MatchRule, Message, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_bus
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection
from jeepney.wrappers import unwrap_msg

BUS_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel, AuthenticationError)

Property = tuple[str, tuple[str, Any]]

_NAME = "org.freedesktop.systemd1"
_SYSTEMD = DBusAddress("/org/freedesktop/systemd1", _NAME, f"{_NAME}.Manager")
_JOB_REMOVED = MatchRule(
    type="signal", sender=_NAME, interface=f"{_NAME}.Manager", member="JobRemoved", path="/org/freedesktop/systemd1"
)


class SystemdBus:
    """One connection."""

    def __init__(self, connection: DBusConnection) -> None:
        """Speak on an open connection."""
        self._connection = connection
        self._results: dict[str, str] = {}

    async def greet(self) -> None:
        """Say hello to the bus, which must come first."""
        await self._answer_to(message_bus.Hello())

    async def watch_jobs(self) -> None:
        """Hear of every job that ends from now on.

        Raises:
            DBusErrorResponse: the bus or systemd refused.
        """
        await self._answer_to(message_bus.AddMatch(_JOB_REMOVED))
        await self.ask("Subscribe", "", ())

    async def ask(self, method: str, signature: str, body: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a method of systemd's manager.

        Raises:
            DBusErrorResponse: systemd refused. BUS_ERRORS: the connection was lost.
        """
        return await self._answer_to(new_method_call(_SYSTEMD, method, signature, body))

    async def wait_job(self, job: str) -> str:
        """The result of a job ("done", "failed", "canceled", …), by its object path."""
        while job not in self._results:
            self._note(await self._connection.receive())
        return self._results.pop(job)

    async def _answer_to(self, call: Message) -> tuple[Any, ...]:
        serial = next(self._connection.outgoing_serial)
        await self._connection.send(call, serial=serial)
        while True:
            message = await self._connection.receive()
            if message.header.fields.get(HeaderFields.reply_serial) == serial:
                return tuple(unwrap_msg(message))
            self._note(message)

    def _note(self, message: Message) -> None:
        if message.header.fields.get(HeaderFields.member) == "JobRemoved" and len(message.body) == 4:
            _, job, _, result = message.body
            self._results[job] = result


@asynccontextmanager
async def open_systemd_bus(bus: str) -> AsyncIterator[SystemdBus]:
    """Connect to a bus: "SYSTEM" or a D-Bus address.

    Raises:
        BUS_ERRORS: it cannot be reached.
    """
    # Not jeepney's open_dbus_connection: a handshake that fails leaves its socket open.
    async with await trio.open_unix_socket(get_bus(bus)) as stream:
        await _authenticate(stream)
        conversation = SystemdBus(DBusConnection(stream.socket))
        await conversation.greet()
        yield conversation


async def _authenticate(stream: trio.SocketStream) -> None:
    """Source: D-Bus specification, "Authentication Protocol"; the bus checks SO_PEERCRED."""
    authenticator = Authenticator()
    for request in authenticator:
        await stream.send_all(request)
        answer = await stream.receive_some()
        if not answer:
            raise trio.EndOfChannel("the bus closed the connection during authentication")
        authenticator.feed(answer)
    await stream.send_all(BEGIN)
