"""What tuned's active profile does to the affinity of threads: its scheduler plugin, as far as it reaches VMs.

With `isolated_cores` every process is moved off those pCPUs, except where a filter spares it. Filters are held against the
name of the process first (one that is spared keeps all its threads), then against that of each thread. A group with an affinity
takes what its pattern finds in the command line. Source: tuned's plugin_scheduler.py (_set_all_obj_affinity,
_instance_apply_static).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

QEMU = "qemu-system-x86"
"""QEMU's name as the kernel keeps it: 15 bytes."""
_COMMAND_LINE = "/usr/bin/qemu-system-x86_64 -name guest=vm,debug-threads=on -enable-kvm"
_CGROUP = "0::/qsup.slice/qsup-vm.scope"


@frozen
class TunedScheduler:
    """Of the active profile: whether it isolates cores, and its patterns.

    `takes` empty: all processes. `spares`, `spares_cgroups`: left alone. `groups`: patterns of groups with an affinity.
    """

    isolates: bool = False
    takes: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()
    spares_cgroups: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def moves_any(self) -> bool:
        """Some threads of this host are moved."""
        return self.isolates or bool(self.groups)

    def moves(self, thread: str, process: str = QEMU) -> bool:
        """Whether it moves a VM's thread of this name.

        Args:
            process: the name of the process that the thread is of; a kernel thread is a process of its own.
        """
        line = _COMMAND_LINE if process == QEMU else f"[{process}]"
        return _found(self.groups, line) or (self.isolates and self._isolated(process) and self._isolated(thread))

    def _isolated(self, name: str) -> bool:
        taken = not self.takes or _found(self.takes, name)
        return taken and not _found(self.spares, name) and not _found(self.spares_cgroups, _CGROUP)


def _found(patterns: Iterable[str], text: str) -> bool:
    """As tuned looks: a pattern that is found anywhere. One that is no pattern finds nothing."""
    for pattern in patterns:
        try:
            if re.search(pattern, text):
                return True
        except re.error:
            continue
    return False
