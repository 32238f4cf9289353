"""The serial console of a running VM as a stream, for one person at a time."""

from __future__ import annotations

import trio

from qsup.errors import BadRequest
from qsup.qmp.connect import connect_unix
from qsup.supervisor.vm_state import VmState

CONNECT_TIMEOUT_S = 5.0


async def open_console(vm: VmState) -> trio.abc.Stream:
    """Connect to the console socket. QEMU serves one client: a second one would wait unheard, so it is refused.

    Raises:
        BadRequest: `supervisor.not-running`, `supervisor.no-console`, `supervisor.console-taken`.
        KernelRefused: the socket cannot be connected.
    """
    plan = vm.run.plan
    if plan is None or vm.run.process is None:
        raise BadRequest("supervisor.not-running", f"{vm.name} is not running", f"qsup start {vm.name}")
    if not plan.serial:
        raise BadRequest("supervisor.no-console", f"{vm.name} has no serial console", "set [console] serial = true")
    if vm.console_taken:
        raise BadRequest("supervisor.console-taken", f"somebody is attached to the console of {vm.name}", "wait, or end it")
    vm.console_taken = True
    try:
        return _Console(vm, await connect_unix(plan.paths.console_socket, timeout_s=CONNECT_TIMEOUT_S))
    except BaseException:
        vm.console_taken = False
        raise


class _Console(trio.abc.Stream):
    """The socket; closing it frees the console for the next one."""

    def __init__(self, vm: VmState, stream: trio.SocketStream) -> None:
        self._vm = vm
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self._vm.console_taken = False
        await self._stream.aclose()
