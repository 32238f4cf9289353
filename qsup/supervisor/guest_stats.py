"""What only QEMU can count of its guest: its disks, what KVM did for it, its balloon. Asked while somebody collects metrics.

Strategy: the questions are posted on the telemetry connection and nobody waits for the answers. Each VM has a moment of its
own, so that a fleet is not asked all at once. What one does not answer stays as it was, and has an age; one that owes answers
gets no further questions. What this QEMU refuses to tell (it has no balloon, its KVM no statistics) it is asked again much
later.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio
from attrs import define, field, frozen

from qsup.errors import QmpRefused
from qsup.qmp.messages import Answer, Refusal
from qsup.qmp.request import Outcome, Question
from qsup.qmp.results import BlockCounters
from qsup.qmp.session import QmpSession
from qsup.qmp.shapes import Shape
from qsup.qmp.stats import QUERY_STATS, stats_arguments, sums_of
from qsup.supervisor.lease import Lease
from qsup.supervisor.seconds import next_second
from qsup.supervisor.vm_state import VmState

INTERVAL_S = 15.0
LEASE_S = 90.0
REFUSED_S = 600.0
PERIOD_S = 1.0
LATENCY_BOUNDARIES_NS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000, 1_000_000_000)
"""Upper bounds of the bins that QEMU is asked to count latencies in: from 0.1 ms to 1 s."""

VCPU_COUNTERS = (
    "exits",
    "io_exits",
    "mmio_exits",
    "halt_exits",
    "irq_exits",
    "irq_window_exits",
    "signal_exits",
    "halt_wait_ns",
    "halt_poll_success_ns",
    "halt_poll_fail_ns",
    "pf_taken",
    "insn_emulation",
)
VM_COUNTERS = ("pages_4k", "pages_2m", "pages_1g", "nx_lpage_splits", "remote_tlb_flush")
_PERIPHERAL = "/machine/peripheral/"


@define(eq=False)
class GuestSample:
    """What one QEMU has told; moments are those of trio's clock. `pid` tells the QEMUs of one VM apart.

    `disks` by disk id. `kvm`: sums over its vCPUs and of the VM, by KVM's own names; empty where none were told.
    """

    pid: int
    due_s: float
    disks: Mapping[str, BlockCounters] = field(factory=dict)
    disks_at_s: float = 0.0
    kvm: dict[str, int] = field(factory=dict)
    kvm_at_s: float = 0.0
    balloon_bytes: int | None = None
    asked_times: int = 0
    owed: int = 0
    not_before_s: dict[str, float] = field(factory=dict)
    histograms: set[str] = field(factory=set)


@frozen
class _Question:
    """`take` puts the answer into the sample; `key` tells the questions apart."""

    key: str
    command: str
    arguments: Mapping[str, object] | None
    take: Callable[[GuestSample, Shape], None]


class GuestStats:
    """Asks while it is wanted."""

    def __init__(self, fleet: Mapping[str, VmState]) -> None:
        self._fleet = fleet
        self._lease = Lease(LEASE_S)
        self._samples: dict[str, GuestSample] = {}

    def want(self) -> None:
        """Somebody collects metrics: ask for a while."""
        self._lease.want()

    def sample(self, vm: VmState) -> GuestSample | None:
        """What the QEMU that runs now has told, or None."""
        found, process = self._samples.get(vm.name), vm.run.process
        return found if found is not None and process is not None and found.pid == process.pid else None

    async def run(self) -> None:
        """Ask for ever, while it is wanted."""
        while True:
            await self._lease.wait_wanted()
            for vm in self._fleet.values():
                link = vm.run.link
                if vm.run.process is not None and link is not None and link.telemetry is not None:
                    self._ask_where_due(vm.name, vm.run.process.pid, link.telemetry)
            for gone in self._samples.keys() - self._fleet.keys():
                del self._samples[gone]
            await next_second()

    def _ask_where_due(self, name: str, pid: int, session: QmpSession) -> None:
        now_s = trio.current_time()
        sample = self._samples.get(name)
        if sample is None or sample.pid != pid:
            sample = self._samples[name] = GuestSample(pid, now_s)
        if now_s < sample.due_s or sample.owed:
            return
        sample.asked_times += 1
        sample.due_s = now_s + _gap_s(name, sample.asked_times)
        asked = [item for item in _QUESTIONS if now_s >= sample.not_before_s.get(item.key, 0.0)]
        if session.post_together([_posted(session, sample, item) for item in asked]):
            sample.owed += len(asked)


def _gap_s(name: str, asked_times: int) -> float:
    """Until the next time: soon after the first (latencies are counted from then on), then at a moment of the VM's own."""
    if asked_times == 1:
        return PERIOD_S
    return INTERVAL_S * (0.5 + zlib.crc32(name.encode()) / 2**32) if asked_times == 2 else INTERVAL_S


def _posted(session: QmpSession, sample: GuestSample, question: _Question) -> Question:
    def settle(outcome: Outcome) -> None:
        sample.owed -= 1
        if isinstance(outcome, Refusal):
            sample.not_before_s[question.key] = trio.current_time() + REFUSED_S
        if isinstance(outcome, Answer):
            with suppress(QmpRefused):  # a reply of the wrong shape tells nothing
                question.take(sample, Shape(question.command, outcome.value))
                if question.key == "disks":
                    _want_histograms(session, sample)

    return Question(question.command, settle, question.arguments)


def _take_disks(sample: GuestSample, reply: Shape) -> None:
    rows = [BlockCounters.of(row) for row in reply.rows()]
    sample.disks = {disk_id: row for row in rows if (disk_id := disk_id_of(row))}
    sample.disks_at_s = trio.current_time()


def disk_id_of(row: BlockCounters) -> str | None:
    """The device's id in its QOM path ("/machine/peripheral/disk0/virtio-backend")."""
    path = row.qdev or ""
    return path.removeprefix(_PERIPHERAL).partition("/")[0] if path.startswith(_PERIPHERAL) else None


def _want_histograms(session: QmpSession, sample: GuestSample) -> None:
    """Let QEMU count the latencies of disks whose it does not count yet; once for each disk of a QEMU."""
    for row in sample.disks.values():
        if row.read_latency is None and row.qdev is not None and row.qdev not in sample.histograms:
            arguments = {"id": row.qdev, "boundaries": list(LATENCY_BOUNDARIES_NS)}
            if session.post("block-latency-histogram-set", lambda outcome: None, arguments):
                sample.histograms.add(row.qdev)


def _take_kvm(sample: GuestSample, reply: Shape) -> None:
    sample.kvm.update(sums_of(reply))
    sample.kvm_at_s = trio.current_time()


def _take_balloon(sample: GuestSample, reply: Shape) -> None:
    sample.balloon_bytes = reply.at("actual").count()


_QUESTIONS = (
    _Question("disks", "query-blockstats", None, _take_disks),
    _Question("vcpus", QUERY_STATS, stats_arguments("vcpu", VCPU_COUNTERS), _take_kvm),
    _Question("vm", QUERY_STATS, stats_arguments("vm", VM_COUNTERS), _take_kvm),
    _Question("balloon", "query-balloon", None, _take_balloon),
)
