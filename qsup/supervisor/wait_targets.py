"""Which threads are sampled: those that the last look at each VM found; where its monitor has not told them, those by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qsup.host.affinity import threads_of
from qsup.host.sched_samples import Target
from qsup.supervisor.vm_state import VmState
from qsup.truth.wait_names import name_in_vm, role_by_name
from qsup.truth.wait_samples import Thread


def targets_of(fleet: Iterable[VmState]) -> list[Target]:
    """All threads of all VMs that run.

    Touches: /proc/PID/task of a VM whose thread ids are not known.
    """
    return [target for vm in fleet if vm.run.process is not None and not vm.run.gone for target in _targets_of(vm)]


def _targets_of(vm: VmState) -> Iterator[Target]:
    assert vm.run.process is not None
    pid = vm.run.process.pid
    if not vm.run.rows:
        for seen in threads_of(pid):
            thread_class, role = role_by_name(seen.name)
            yield _target(vm.name, pid, seen.tid, thread_class, role, seen.affinity)
        return
    kernel_workers = vm.run.ids.vhost_kthreads if vm.run.ids is not None else frozenset()
    for row in vm.run.rows:
        if row.tid is not None:
            # A kernel thread that works for the VM is a process of its own to /proc.
            owner = row.tid if row.thread_class == "kernel" or row.tid in kernel_workers else pid
            yield _target(vm.name, owner, row.tid, row.thread_class, row.label, row.affinity)


def _target(vm: str, pid: int, tid: int, thread_class: str, role: str, affinity: frozenset[int]) -> Target:
    return Target(pid, tid, Thread(name_in_vm(vm, role), vm, thread_class, role), len(affinity) == 1)
