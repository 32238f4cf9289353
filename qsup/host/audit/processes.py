"""The processes of VMs: their rlimits, their swap, the limits of their cgroups; and which process is which VM's.

Source: man 2 getrlimit, man 5 proc, Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from qsup.host.cgroup import cgroup_dirs_of, cpuset_of
from qsup.host.sysfs import list_dir, number_of, read_text
from qsup.truth.audit.facts import CgroupLimit, ProcessFacts

_LIMIT = re.compile(r"^Max (open files|locked memory)\s+(\S+)\s", re.ASCII | re.MULTILINE)
_SWAPPED = re.compile(r"^VmSwap:\s+([0-9]{1,15}) kB", re.ASCII | re.MULTILINE)
_GUEST = re.compile(r"\0-name\0guest=([^,\0]+)")


def read_process_limits(pid: int, root: str = "/") -> ProcessFacts:
    """Touches: /proc/PID/{limits,status,cgroup}; memory.max, cpu.max, pids.max of its cgroup and those above; its cpuset."""
    text = read_text(root, f"/proc/{pid}/limits")
    limits = dict(_LIMIT.findall(text or ""))
    swapped = _SWAPPED.search(read_text(root, f"/proc/{pid}/status") or "")
    directories = tuple(cgroup_dirs_of(pid, "", root))
    return ProcessFacts(
        pid=pid,
        nofile=number_of(limits.get("open files")),
        memlock_bytes=number_of(limits.get("locked memory")),
        swapped_bytes=int(swapped[1]) << 10 if swapped else None,
        memory_limit=_lowest(root, directories, "memory.max", number_of),
        quota_percent=_lowest(root, directories, "cpu.max", _percent_of),
        pids_limit=_lowest(root, directories, "pids.max", number_of),
        cpuset=cpuset_of(pid, root),
        told=text is not None,
    )


def _lowest(
    root: str, directories: tuple[str, ...], name: str, value_of: Callable[[str | None], int | None]
) -> CgroupLimit | None:
    """The lowest limit of this name, the innermost of equal ones; "max" is none."""
    files = (f"{directory}/{name}" for directory in directories)
    limits = [CgroupLimit(file, value) for file in files if (value := value_of(read_text(root, file))) is not None]
    return min(limits, key=lambda limit: limit.value, default=None)


def _percent_of(text: str | None) -> int | None:
    """Of "50000 100000" 50; None for "max 100000"."""
    words = [number_of(word) for word in (text or "").split()]
    if len(words) != 2 or words[0] is None or not words[1]:
        return None
    return 100 * words[0] // words[1]


def qemu_pids(root: str = "/") -> dict[str, int]:
    """The name of each VM whose QEMU runs, with its process: by the name that qsup gives it on its command line.

    Touches: /proc/*/cmdline.
    """
    return dict(_named_qemus(root))


def _named_qemus(root: str) -> Iterator[tuple[str, int]]:
    for entry in list_dir(root, "/proc"):
        pid = number_of(entry)
        command = (read_text(root, f"/proc/{entry}/cmdline") or "") if pid is not None else ""
        match = _GUEST.search(command) if "qemu" in command.partition("\0")[0] else None
        if pid is not None and match:
            yield match[1], pid
