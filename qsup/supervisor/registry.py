"""The supervisor: the fleet of VMs, each with a task of its own, and the face that the API sees."""

from __future__ import annotations

import difflib
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

import qsup
from qsup.errors import BadRequest, KernelRefused, QsupError
from qsup.host.facts import read_host_facts
from qsup.host.own_process import read_own_process
from qsup.host.sched_samples import SchedSamples
from qsup.natural import natural
from qsup.plan.ledger import Ledger
from qsup.qmp import verbs
from qsup.reconcile.phase import phase_of
from qsup.supervisor.auditing import audit_host
from qsup.supervisor.confdir import ConfigDirTrouble, ConfigFile, ConfigNews
from qsup.supervisor.config_side import take_config
from qsup.supervisor.console import open_console
from qsup.supervisor.contain import contain_call, note_trouble
from qsup.supervisor.execute import Execute, Hands
from qsup.supervisor.fleet_watch import FleetWatch
from qsup.supervisor.mending import mend_memory
from qsup.supervisor.metric import Family
from qsup.supervisor.metrics import Metrics
from qsup.supervisor.monitor_watch import watch_monitors
from qsup.supervisor.observe import observed_of
from qsup.supervisor.power_memory import recall_order
from qsup.supervisor.publish import full_view_of, view_of
from qsup.supervisor.requests import Requests, Verb
from qsup.supervisor.services import Services
from qsup.supervisor.top import Top
from qsup.supervisor.top_view import TopFrame
from qsup.supervisor.verifying import verify_all, verify_vm
from qsup.supervisor.view import CmdlineView, EventView, Outcome, VmView
from qsup.supervisor.vm_state import VmState
from qsup.supervisor.vm_task import run_vm
from qsup.supervisor.wait_watch import WaitReport, WaitWatch
from qsup.truth.audit.report import AuditReport
from qsup.truth.host_map import HostMap, map_of
from qsup.truth.page_moves import MemoryMended
from qsup.truth.verified import VmVerified
from qsup.truth.wait_history import WaitMinute

OPERATOR_QMP_TIMEOUT_S = 60.0
OPERATOR_CONNECT_TIMEOUT_S = 10.0


class Supervisor:
    """All VMs of this daemon. Implements the API's Registry."""

    def __init__(self, services: Services, nursery: trio.Nursery, execute: Execute | None = None) -> None:
        self._services = services
        self._nursery = nursery
        self._execute = execute if execute is not None else Hands(services, nursery)
        self._requests = Requests(services)
        self._watch = FleetWatch(services)
        self._waits = WaitWatch(services.fleet, SchedSamples(exact=services.settings.exact_wait), refused=self._tell_refusal)
        self._metrics = Metrics(services, self._waits)
        self._top = Top(services.fleet)
        self._begun_s = time.time()
        self._files_known = False

    async def run_samplers(self) -> None:
        """Watch all threads and all monitors; sample who waits, what metrics need between two scrapes and what `top` shows."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch.run)
            nursery.start_soon(watch_monitors, self._services.fleet)
            nursery.start_soon(self._waits.run)
            nursery.start_soon(self._metrics.run)
            nursery.start_soon(self._top.run)

    def add(self, vm: VmState) -> None:
        """Take a VM into the fleet and start its task."""
        vm.phase = phase_of(observed_of(vm))
        self._services.fleet[vm.name] = vm
        self._nursery.start_soon(run_vm, self._services, vm, self._execute, name=f"vm {vm.name}")

    def take_config_news(self, news: ConfigNews) -> None:
        """Hand each file's news to its VM; a file that is new makes a VM."""
        if isinstance(news, ConfigDirTrouble):
            message = news.message or "the config directory can be read again"
            self._services.events.publish("config.directory", message)
            return
        for file in news:
            error = contain_call("taking its file", partial(self._take_file, file))
            if error is not None:
                self._services.events.publish(error.code, f"{file.path}: {error.message}", file.name)
        if not self._files_known:
            self._files_known = True
            self._note_adopted_without_file({file.name for file in news})

    def _note_adopted_without_file(self, names: set[str]) -> None:
        """A VM that was adopted and whose file vanished while no daemon watched."""
        for vm in list(self._services.fleet.values()):
            if vm.name not in names:
                self._take_file(ConfigFile(vm.name, vm.config.file or "", removed=True))

    def _take_file(self, file: ConfigFile) -> None:
        vm = self._services.fleet.get(file.name)
        is_new = vm is None
        if vm is None:
            if file.removed:
                return
            vm = VmState(file.name, phase_since_s=time.time())
        first_spec = vm.config.spec is None
        back = vm.config.state == "removed" and not file.removed
        take_config(self._services.events, vm, file)
        removal_is_order = self._services.settings.on_removed == "shutdown"
        new_here = first_spec and vm.run.process is None
        if new_here or (back and removal_is_order):
            self._recall(vm, is_new=new_here)
        if vm.config.state == "removed" and removal_is_order:
            vm.power.wanted = "off"
        if is_new:
            self.add(vm)
        vm.ring()

    def _recall(self, vm: VmState, *, is_new: bool) -> None:
        """What was ordered before; where that cannot be read the order may have been to stay off, so it does."""
        if vm.config.spec is None:
            return
        try:
            recall_order(self._services.policy.state_dir, vm, is_new=is_new)
        except QsupError as error:
            vm.power.wanted = "off"
            note_trouble(self._services.events, vm, error)

    def views(self) -> Sequence[VmView]:
        """All VMs, ascending by name."""
        return [view_of(vm) for vm in sorted(self._services.fleet.values(), key=lambda vm: natural(vm.name))]

    def view(self, name: str) -> VmView:
        """One VM, with what its process has taken of the host.

        Raises:
            BadRequest: `api.unknown-vm`.
        """
        return full_view_of(self._vm(name))

    async def act(self, name: str, verb: Verb, *, paused: bool = False, force: bool = False, wait: bool = True) -> Outcome:
        """Serve a lifecycle verb.

        Raises:
            BadRequest: unknown VM, or not now. Other QsupError: what kept it from being done.
        """
        return await self._requests.act(self._vm(name), verb, paused=paused, force=force, wait=wait)

    def events(self, after_seq: int | None) -> tuple[EventView, ...]:
        """The kept events, oldest first."""
        return self._services.events.history(after_seq)

    def follow(self, after_seq: int | None) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[EventView]]:
        """Events as they happen."""
        return self._services.events.follow(after_seq)

    def cmdline(self, name: str) -> CmdlineView:
        """The command line of a running VM.

        Raises:
            BadRequest: `supervisor.not-running`.
        """
        vm = self._vm(name)
        if vm.run.record is None:
            where = vm.config.file or "its file"
            raise BadRequest(
                "supervisor.not-running", f"{name} is not running", f"qsup cmdline {where} shows what would run"
            )
        record = vm.run.record
        return CmdlineView(record.argv, tuple((option.flag, option.value, option.why) for option in record.options), True)

    async def qmp(self, name: str, command: str, arguments: Mapping[str, object]) -> object:
        """One QMP command on the telemetry connection.

        Raises:
            QmpRefused, QmpLost: QEMU's refusal or silence.
        """
        session = await self._vm(name).run.require_link().wait_telemetry(OPERATOR_CONNECT_TIMEOUT_S)
        return await session.execute(command, arguments, timeout_s=OPERATOR_QMP_TIMEOUT_S)

    async def hmp(self, name: str, text: str) -> str:
        """One line for the human monitor, on the telemetry connection.

        Raises:
            QmpRefused, QmpLost: QEMU's refusal or silence.
        """
        session = await self._vm(name).run.require_link().wait_telemetry(OPERATOR_CONNECT_TIMEOUT_S)
        return await verbs.human_monitor_command(session, text, timeout_s=OPERATOR_QMP_TIMEOUT_S)

    async def open_console(self, name: str) -> trio.abc.Stream:
        """A raw stream to the serial console.

        Raises:
            BadRequest: nothing runs, it has no serial console, or somebody is attached.
        """
        return await open_console(self._vm(name))

    async def ledger(self) -> Ledger:
        """What each VM holds of the host."""
        return await self._services.reservations.current()

    async def verify(self, name: str) -> VmVerified:
        """The truth table of one VM, its pages counted anew."""
        return await verify_vm(self._vm(name))

    async def verify_all(self, name: str | None = None) -> Sequence[VmVerified]:
        """The truth tables of all VMs, ascending by name, or that of one; pages as they were counted last."""
        return await verify_all(self._services.fleet.values() if name is None else [self._vm(name)])

    async def repair_memory(self, name: str) -> MemoryMended:
        """Move a VM's misplaced pages to the planned nodes.

        Raises:
            BadRequest: `supervisor.not-running`, `supervisor.mending`. KernelRefused: the kernel does not let it.
        """
        return await mend_memory(self._services, self._vm(name))

    async def audit(self, skip: Collection[str]) -> AuditReport:
        """The host and its VMs against the rules.

        Raises:
            BadRequest: `truth.no-such-rule`.
        """
        return await audit_host(self._services, skip)

    def _tell_refusal(self, refusal: KernelRefused) -> None:
        self._services.events.publish(refusal.code, f"{refusal.message}; who waits for whom is found out by sampling")

    def wait(self) -> WaitReport | None:
        """Who waited for a pCPU in the last span."""
        return self._waits.latest

    def wait_history(self, name: str) -> tuple[WaitMinute, ...]:
        """The last hour of one VM's waiting."""
        return self._waits.history(name)

    def follow_wait(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[WaitReport]]:
        """Every report from now on."""
        return self._waits.follow()

    def top(self, report: WaitReport | None, name: str | None) -> TopFrame:
        """What `top` shows of a moment: all VMs, or one with its threads."""
        return self._top.frame(report, name)

    async def topology(self) -> HostMap:
        """The machine with everybody in their seats."""
        ledger = await self._services.reservations.current()
        facts = await trio.to_thread.run_sync(lambda: read_host_facts(bridges=(), images=(), files=()))
        return map_of(facts, self._services.policy, ledger)

    def metrics(self) -> Sequence[Family]:
        """Everything that is counted."""
        return self._metrics.families()

    def host(self) -> Mapping[str, object]:
        """The daemon itself."""
        own = read_own_process()
        phases = Counter(vm.phase for vm in self._services.fleet.values())
        return {
            "version": qsup.__version__,
            "pid": os.getpid(),
            "uptime_s": round(time.time() - self._begun_s, 3),
            "run_dir": self._services.policy.run_dir,
            "state_dir": self._services.policy.state_dir,
            "resident_bytes": own.resident_bytes,
            "cpu_s": round(own.cpu_s, 3),
            "vms": dict(phases),
        }

    def _vm(self, name: str) -> VmState:
        vm = self._services.fleet.get(name)
        if vm is None:
            near = difflib.get_close_matches(name, self._services.fleet, 1)
            hint = f"did you mean {near[0]}?" if near else "qsup list shows all VMs"
            raise BadRequest("api.unknown-vm", f"there is no VM called {name!r}", hint)
        return vm
