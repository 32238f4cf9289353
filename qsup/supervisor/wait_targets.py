"""Which threads are sampled: those that the last look at each VM found; where its monitor has not told them, those by name.

What the last look found stays the same for minutes, and the next one mostly finds it again: the targets of a VM are made once
for each look, and the list of all is the same object as long as nothing of it changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define

from qsup.host.affinity import threads_of
from qsup.host.sched_samples import Target
from qsup.supervisor.vm_state import VmState
from qsup.truth.threads import ThreadRow
from qsup.truth.wait_names import name_in_vm, role_by_name
from qsup.truth.wait_samples import Thread


@define(eq=False)
class _Kept:
    """The targets of one process, and the rows of which they were made last."""

    pid: int
    rows: tuple[ThreadRow, ...]
    targets: list[Target]


class Targets:
    """The targets of a fleet, kept."""

    def __init__(self, fleet: Mapping[str, VmState]) -> None:
        self._fleet = fleet
        self._kept: dict[str, _Kept] = {}
        self._all: Sequence[Target] = ()

    def current(self) -> Sequence[Target]:
        """All threads of all VMs that run.

        Touches: /proc/PID/task of a VM whose thread ids are not known.
        """
        kept = {vm.name: self._of(vm) for vm in self._fleet.values() if vm.run.process is not None and not vm.run.gone}
        if kept.keys() != self._kept.keys() or any(entry is not self._kept[name] for name, entry in kept.items()):
            self._kept = kept
            self._all = [target for entry in kept.values() for target in entry.targets]
        return self._all

    def _of(self, vm: VmState) -> _Kept:
        """The very same as before where a new look has found the same threads."""
        assert vm.run.process is not None
        pid, rows = vm.run.process.pid, vm.run.rows
        kept = self._kept.get(vm.name)
        if kept is not None and rows and kept.pid == pid and kept.rows is rows:
            return kept
        targets = list(_targets_of(vm))
        if kept is not None and kept.pid == pid and kept.targets == targets:
            kept.rows = rows
            return kept
        return _Kept(pid, rows, targets)


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
