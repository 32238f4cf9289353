"""A systemd that knows StartTransientUnit, on a real message bus. What it is asked, it notes; a test decides what it says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection, open_dbus_connection

DBUS_DAEMON = shutil.which("dbus-daemon")
_CONFIG = """<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"""
_MANAGER = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")


class FakeSystemd:
    """`denials`: errors (name, text) that the next starts get; `result`: what their jobs end as, None: they never end."""

    def __init__(self) -> None:
        self.started: list[tuple[str, dict[str, Any]]] = []
        self.reset: list[str] = []
        self.denials: list[tuple[str, str]] = []
        self.result: str | None = "done"

    async def serve(self, connection: DBusConnection) -> None:
        """Answer until cancelled."""
        jobs = 0
        while True:
            call = await connection.receive()
            if call.header.message_type is not MessageType.method_call:
                continue
            member = call.header.fields[HeaderFields.member]
            if member != "StartTransientUnit":
                if member == "ResetFailedUnit":
                    self.reset.append(call.body[0])
                await connection.send(new_method_return(call))
            elif self.denials:
                name, text = self.denials.pop(0)
                await connection.send(new_error(call, name, "s", (text,)))
            else:
                jobs += 1
                await self._start(connection, call, f"/org/freedesktop/systemd1/job/{jobs}")

    async def _start(self, connection: DBusConnection, call: Message, job: str) -> None:
        unit, _, properties, _ = call.body
        self.started.append((unit, {name: value for name, (_, value) in properties}))
        if self.result is not None:
            # Before the reply: a job may be over before its starter knows its name.
            await connection.send(new_signal(_MANAGER, "JobRemoved", "uoss", (1, job, unit, self.result)))
            await connection.send(new_signal(_MANAGER, "JobRemoved", "uoss", (2, job + "0", "other.scope", "failed")))
        await connection.send(new_method_return(call, "o", (job,)))


@asynccontextmanager
async def open_fake_systemd(directory: Path) -> AsyncIterator[tuple[str, FakeSystemd]]:
    """A bus of its own with the fake on it.

    Returns:
        The bus' address, and the fake.
    """
    path = directory / "bus"
    config = directory / "bus.conf"
    config.write_text(_CONFIG.format(path=path))
    words = [DBUS_DAEMON or "", f"--config-file={config}", "--nofork", "--print-address"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as daemon:  # noqa: ASYNC220
        assert daemon.stdout is not None
        await trio.to_thread.run_sync(daemon.stdout.readline)
        address = f"unix:path={path}"
        fake = FakeSystemd()
        try:
            async with await open_dbus_connection(address) as connection:
                async with connection.router() as router:
                    await router.send_and_get_reply(message_bus.RequestName("org.freedesktop.systemd1"))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fake.serve, connection)
                    yield address, fake
                    nursery.cancel_scope.cancel()
        finally:
            daemon.terminate()
