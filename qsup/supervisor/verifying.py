"""Verify: the truth table of a VM, gathered when somebody asks. Nothing is changed, and no VM waits for another.

Strategy: the kernel is read in worker threads, at most two at a time; what a process that hangs in the kernel does not let be
read is given up after a deadline. QEMU is asked on its telemetry connection, with a short
deadline; where it does not answer, the kernel's rows stand alone and a note says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial

import trio
from attrs import evolve

from qsup.errors import KernelRefused, QmpLost
from qsup.host.aio import read_aio
from qsup.host.link_table import read_links
from qsup.host.process_threads import read_process
from qsup.natural import natural
from qsup.plan.vmplan import VmPlan
from qsup.process.log_dir import tail
from qsup.supervisor.asking_disks import ask_disks
from qsup.supervisor.looking import known_kernel_threads, scan_kernel_threads
from qsup.supervisor.page_watch import count_pages
from qsup.supervisor.process_reads import ProcessReads
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.devices import DiskAnswers, disk_rows, nic_rows
from qsup.truth.disk_aio import AioFacts
from qsup.truth.drift import fought_tids, refused_tids
from qsup.truth.link_facts import LinkFacts
from qsup.truth.memory import memory_rows
from qsup.truth.verified import SeenProcess, VmVerified, thread_truths

AIO_DEADLINE_S = 2.0
STDERR_BYTES = 64 << 10
_FALLBACK = "falling back to thread pool"
_SILENT = "QEMU does not answer: what only QEMU can tell is missing"
_BY_NAME = "QEMU has not told its thread ids: threads are told apart by their names"
_STARTING = "it is being started: nothing is in its place yet"

Links = Mapping[str, LinkFacts] | None

_readers = trio.CapacityLimiter(2)
_aio_reads = ProcessReads(at_once=2)


async def verify_all(vms: Iterable[VmState]) -> tuple[VmVerified, ...]:
    """The tables of these VMs, ascending by name; pages as they were counted last."""
    found: dict[str, VmVerified] = {}
    fleet = list(vms)
    links = await _links_for(fleet)

    async def verify(vm: VmState) -> None:
        found[vm.name] = await _verify(vm, links)

    async with trio.open_nursery() as nursery:
        for vm in fleet:
            nursery.start_soon(verify, vm)
    return tuple(found[name] for name in sorted(found, key=natural))


async def verify_vm(vm: VmState) -> VmVerified:
    """The table of one VM; its pages are counted anew.

    Touches: /proc of the VM's threads and mappings, cgroup files, netlink; QMP query-named-block-nodes, query-blockstats,
        qom-get.
    """
    run = vm.run
    if run.started and run.process is not None and run.plan is not None and not run.gone:
        await count_pages(run, transparent=True)
    return await _verify(vm, await _links_for([vm]))


async def _verify(vm: VmState, links: Links) -> VmVerified:
    run = vm.run
    plan, process = run.plan, run.process
    if plan is None or process is None or run.gone:
        return _absent(vm)
    if not run.started and not run.placed:
        return VmVerified(vm.name, vm.phase, time.time(), process.pid, (_STARTING,))
    seen = await trio.to_thread.run_sync(_read_threads, run, process.pid, trio.current_time(), limiter=_readers)
    aio = await _aio_of(process.pid, plan)
    answers = await _answers_of(run, plan)
    if not process.is_alive():
        return _absent(vm)
    return _table(vm, run, plan, seen, aio, answers, links)


def _absent(vm: VmState) -> VmVerified:
    notes = (vm.stray,) if vm.stray else ()
    return VmVerified(vm.name, vm.phase, time.time(), notes=notes)


def _table(
    vm: VmState,
    run: RunSide,
    plan: VmPlan,
    seen: SeenProcess,
    aio: AioFacts,
    answers: DiskAnswers | None,
    links: Links,
) -> VmVerified:
    truth = run.truth
    workers = sum(thread.name.startswith("vhost-") for thread in seen.threads)
    assert run.process is not None
    return VmVerified(
        vm=vm.name,
        phase=vm.phase,
        checked_at_s=time.time(),
        pid=run.process.pid,
        notes=_notes_of(run, answers),
        threads=thread_truths(plan, run.ids, seen, refused=refused_tids(truth.drift), fought=fought_tids(truth.drift)),
        memory=memory_rows(plan, truth.count),
        nics=nic_rows(plan, links, workers),
        disks=disk_rows(plan, aio, answers),
        memory_counted_at_s=truth.count.counted_at_s if truth.count is not None else None,
        repairs=truth.repairs,
        left_alone=len(fought_tids(truth.drift)),
    )


def _notes_of(run: RunSide, answers: DiskAnswers | None) -> tuple[str, ...]:
    notes = [_SILENT] if answers is None else []
    return tuple(notes + ([_BY_NAME] if run.ids is None else []))


def _read_threads(run: RunSide, pid: int, now_s: float) -> SeenProcess:
    if run.truth.scanned_s is None:
        scan_kernel_threads(run, now_s)
    return read_process(pid, known_kernel_threads(run))


async def _aio_of(pid: int, plan: VmPlan) -> AioFacts:
    if not plan.disks:
        return AioFacts()
    try:
        seen = await _aio_reads.read(pid, "the mappings", partial(read_aio, pid), AIO_DEADLINE_S)
    except KernelRefused as refused:
        seen = AioFacts(problem=refused.message)
    lines = await trio.to_thread.run_sync(_words_of, plan.paths.stderr_log, limiter=_readers)
    return evolve(seen, fallbacks=tuple(line for line in lines if _FALLBACK in line))


def _words_of(stderr_log: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in tail(stderr_log, STDERR_BYTES).splitlines())


async def _links_for(fleet: Iterable[VmState]) -> Links:
    """All links of the host; None where they cannot be had, and nothing where no VM has a nic."""
    if not any(vm.run.plan is not None and vm.run.plan.nics for vm in fleet):
        return {}
    try:
        links = await trio.to_thread.run_sync(read_links)
    except KernelRefused:
        return None
    return {link.name: link for link in links}


async def _answers_of(run: RunSide, plan: VmPlan) -> DiskAnswers | None:
    """What QEMU says of its disks; None where it does not answer."""
    if run.link is None or run.link.silent_since_s is not None:
        return None
    try:
        return await ask_disks(run.link.require_telemetry(), plan.disks)
    except QmpLost:
        return None
