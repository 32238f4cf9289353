"""Registry: all that the API needs of the supervisor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import trio

from qsup.plan.ledger import Ledger
from qsup.supervisor.metric import Family
from qsup.supervisor.top_view import TopFrame
from qsup.supervisor.view import CmdlineView, EventView, Outcome, VmView
from qsup.supervisor.wait_watch import WaitReport
from qsup.truth.audit.report import AuditReport
from qsup.truth.host_map import HostMap
from qsup.truth.page_moves import MemoryMended
from qsup.truth.verified import VmVerified
from qsup.truth.wait_history import WaitMinute

Verb = Literal["start", "stop", "restart", "reset", "pause", "resume"]


class Registry(Protocol):
    """What the supervisor publishes and the orders that it takes.

    Every method with a `name` raises BadRequest with the code "api.unknown-vm" (and a hint with the nearest name) where no
    VM is called so. Reading methods are synchronous: they return what was published last and never wait for a VM.
    """

    def views(self) -> Sequence[VmView]:
        """All VMs, ascending by name."""
        ...

    def view(self, name: str) -> VmView:
        """One VM."""
        ...

    async def act(self, name: str, verb: Verb, *, paused: bool = False, force: bool = False, wait: bool = True) -> Outcome:
        """Give an order, and with `wait` come back when it is done.

        The order is taken before the first checkpoint: cancelling this call (its client went away) ends the waiting only.
        `paused` belongs to start, `force` to stop and restart.

        Raises:
            QsupError: of any class; BadRequest where the verb makes no sense now.
        """
        ...

    def events(self, after_seq: int | None) -> tuple[EventView, ...]:
        """The history that is kept, ascending by `seq`; with `after_seq` only what came later."""
        ...

    def follow(self, after_seq: int | None) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[EventView]]:
        """Events as they happen, after the kept history since `after_seq` (None: no history), none lost, none twice.

        The supervisor never waits for a reader: it closes the channel of one that lags. A channel that ends by itself
        therefore means "lagged", and the API says so to its client.
        """
        ...

    def cmdline(self, name: str) -> CmdlineView:
        """The command line as it runs, or as it would run."""
        ...

    async def qmp(self, name: str, command: str, arguments: Mapping[str, object]) -> object:
        """QEMU's answer to one QMP command: its `return` value.

        Raises:
            QmpRefused, QmpLost, BadRequest: no QEMU runs.
        """
        ...

    async def hmp(self, name: str, text: str) -> str:
        """What the human monitor prints for one line.

        Raises:
            QmpRefused, QmpLost, BadRequest: no QEMU runs.
        """
        ...

    async def open_console(self, name: str) -> trio.abc.Stream:
        """A raw byte stream to the serial console; the caller closes it.

        Raises:
            BadRequest: no QEMU runs, the VM has no serial console, or somebody else is attached.
        """
        ...

    async def ledger(self) -> Ledger:
        """What each VM holds of the host: its plan as it is in force, and the pages that its process has taken by now."""
        ...

    async def verify(self, name: str) -> VmVerified:
        """The truth table of one VM, gathered now; its pages are counted anew."""
        ...

    async def verify_all(self, name: str | None = None) -> Sequence[VmVerified]:
        """The truth tables of all VMs, ascending by name, or that of one; pages as they were counted last."""
        ...

    async def repair_memory(self, name: str) -> MemoryMended:
        """Move a VM's misplaced pages to the planned nodes; cancelling stops it between two batches.

        Raises:
            BadRequest: it does not run, or its memory is being moved already. KernelRefused: the kernel does not let it.
        """
        ...

    async def audit(self, skip: Collection[str]) -> AuditReport:
        """The host and its VMs against every rule but those to skip, read now.

        Raises:
            BadRequest: truth.no-such-rule. KernelRefused: supervisor.audit-hangs.
        """
        ...

    def wait(self) -> WaitReport | None:
        """Who waited for a pCPU in the last span, and for whom; None before the second sample."""
        ...

    def wait_history(self, name: str) -> tuple[WaitMinute, ...]:
        """The last hour of one VM's waiting, oldest minute first."""
        ...

    def follow_wait(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[WaitReport]]:
        """Every report from now on, one a second as long as anybody follows. A channel that ends by itself means "lagged"."""
        ...

    def top(self, report: WaitReport | None, name: str | None) -> TopFrame:
        """What `top` shows of the moment of a report: all VMs, or one with its threads. Whoever asks is taken to watch."""
        ...

    async def topology(self) -> HostMap:
        """The machine with all VMs in their seats."""
        ...

    def metrics(self) -> Sequence[Family]:
        """Everything that is counted, each family once; what a VM does not tell just now is as old as it says."""
        ...

    def host(self) -> Mapping[str, object]:
        """The daemon: version, uptime_s, pid, run_dir, and counts of VMs by phase. Values are plain JSON."""
        ...
