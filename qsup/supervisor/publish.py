"""view_of: one VM as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio
from attrs import evolve

from qsup.cpuset import format_cpulist
from qsup.host.process_stats import read_process_stats
from qsup.plan.vmplan import VmPlan
from qsup.spec.changes import Change, changes_of
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.page_sizes import pages_asked, pages_planned
from qsup.supervisor.view import StartingView, ThreadView, VmView
from qsup.supervisor.vm_state import RunSide, VmState
from qsup.truth.drift import fought_tids


def view_of(vm: VmState) -> VmView:
    """A frozen picture of the VM as it is held right now."""
    config, run, past = vm.config, vm.run, vm.past
    plan, record, link = run.plan, run.record, run.link
    now_s = trio.current_time()
    alive = run.process is not None and not run.gone
    waits = past.not_before_s - now_s
    return VmView(
        name=vm.name,
        phase=vm.phase,
        power=vm.power.wanted,
        phase_since_s=vm.phase_since_s,
        config_state=config.state,
        config_file=config.file,
        description=config.spec.vm.description if config.spec else "",
        autostart=config.spec.vm.autostart if config.spec else False,
        pid=run.process.pid if run.process is not None and alive else None,
        scope=record.scope if record is not None else None,
        adopted=run.adopted,
        qemu_status=link.status if link is not None and alive else None,
        silent_s=now_s - link.silent_since_s if link is not None and link.silent_since_s is not None and alive else None,
        starting=_starting_of(run, now_s) if alive else None,
        threads=_threads_of(vm) if alive else (),
        repairs=run.truth.repairs,
        drifting=sum(row.verdict == "drift" for row in run.rows) if alive else 0,
        left_alone=len(fought_tids(run.truth.drift)) if alive else 0,
        problems=config.problems,
        pending=pending_of(vm) if alive else (),
        refusal=past.refusal,
        suggestions=past.suggestions,
        trouble=past.trouble.message if past.trouble is not None else None,
        trouble_code=past.trouble.code if past.trouble is not None else None,
        trouble_hint=past.trouble.hint if past.trouble is not None else None,
        reason=vm.reason or (vm.stray or ""),
        last_ending=past.last_ending_text,
        last_ending_code=past.last_ending_code,
        last_words=past.last_words,
        restarts=past.restarts,
        next_start_in_s=waits if waits > 0 and not alive and vm.power.wanted != "off" else None,
        starts=tuple(past.starts),
        **_planned(plan, config.spec),
    )


def full_view_of(vm: VmState) -> VmView:
    """The same with what its QEMU has taken of the host.

    Touches: /proc/PID.
    """
    view = view_of(vm)
    process = vm.run.process
    if view.pid is None or process is None:
        return view
    stats = read_process_stats(process.pid)
    return evolve(view, process=stats) if process.is_alive() else view


def _starting_of(run: RunSide, now_s: float) -> StartingView | None:
    progress = run.progress
    if progress is None or run.link is None or run.link.greeted:
        return None
    still_s = max(now_s - progress.moved_at_s, 0.0)
    return StartingView(progress.planned_bytes, progress.taken_bytes, progress.cpu_s, still_s)


def _planned(plan: VmPlan | None, spec: VmSpec | None) -> dict[str, Any]:
    """What is known of its shape: from its plan, else from its file."""
    if plan is None:
        if spec is None:
            return {}
        return {
            "vcpus": spec.cpu.vcpus,
            "memory_bytes": spec.memory.size_bytes,
            **pages_asked(spec.memory),
            "placement": spec.cpu.placement,
        }
    return {
        "uid": plan.uid,
        "vcpus": len(plan.vcpus),
        "memory_bytes": plan.memory_bytes,
        **pages_planned(plan),
        "placement": plan.placement,
        "machine": plan.machine,
        "accel": plan.accel,
        "host_nodes": tuple(sorted({number for node in plan.guest_nodes for number in node.host_nodes})),
        "nics": tuple(_nics_of(plan)),
        "disks": tuple(_disks_of(plan)),
        "serial_log": plan.paths.serial_log if plan.serial else None,
        "warnings": plan.warnings,
    }


def _nics_of(plan: VmPlan) -> list[Mapping[str, object]]:
    return [
        {
            "id": nic.nic_id,
            "bridge": nic.bridge,
            "tap": nic.tap,
            "mac": nic.mac,
            "queues": nic.queues,
            "mtu": nic.mtu,
            "vhost": nic.vhost,
        }
        for nic in plan.nics
    ]


def _disks_of(plan: VmPlan) -> list[Mapping[str, object]]:
    return [
        {
            "id": disk.disk_id,
            "path": disk.chain[0].path,
            "format": disk.chain[0].format,
            "readonly": disk.readonly,
            "cache": disk.cache,
            "aio": disk.aio,
            "iothread": disk.iothread_id,
        }
        for disk in plan.disks
    ]


def _threads_of(vm: VmState) -> tuple[ThreadView, ...]:
    return tuple(
        ThreadView(row.label, row.tid or 0, row.name, format_cpulist(row.pin), format_cpulist(row.affinity), row.verdict)
        for row in vm.run.rows
        if row.thread_class != "kernel"
    )


def pending_of(vm: VmState) -> tuple[Change, ...]:
    """What the file says otherwise than the VM was launched with, and is not in force yet.

    A file that is invalid or gone changes nothing; what only qsup looks at (effect "none") is in force at once.
    """
    if vm.run.launched_spec is None or vm.config.spec is None or vm.run.launched_spec == vm.config.spec:
        return ()
    return tuple(change for change in changes_of(vm.run.launched_spec, vm.config.spec) if change.effect != "none")
