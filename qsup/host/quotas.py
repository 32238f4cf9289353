"""How long a CPU quota has held a process: from the cpu.stat of its cgroups, by descriptors that are kept.

A quota above (a slice's) holds as well as its own: the one that held longest counts, since times of both at once would count
twice. Source: Documentation/admin-guide/cgroup-v2.rst (cpu.stat throttled_usec), sched-bwc.rst (v1: throttled_time in ns).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from qsup.host.cgroup import cgroup_dirs_of
from qsup.host.sysfs import rooted

_READ_BYTES = 4096
_FIELDS = {b"throttled_usec": 1000, b"throttled_time": 1}


class Quotas:
    """Reads the throttled time of processes again and again.

    Touches: /proc/PID/cgroup and /proc/self/mountinfo once a process; cpu.stat of its cgroup and those above.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._kept: dict[int, list[int]] = {}

    def throttled_ns(self, pid: int) -> int:
        """Since the cgroups were made; 0 where no quota is known."""
        if pid not in self._kept:
            self._kept[pid] = _open_all(pid, self._root)
        return max((_throttled_in(fd) for fd in self._kept[pid]), default=0)

    def keep_only(self, pids: Iterable[int]) -> None:
        """Close what belongs to other processes."""
        for pid in self._kept.keys() - set(pids):
            for fd in self._kept.pop(pid):
                os.close(fd)

    def close(self) -> None:
        """Close everything."""
        self.keep_only(())


def _open_all(pid: int, root: str) -> list[int]:
    fds = []
    for controller in ("", "cpu"):
        for directory in cgroup_dirs_of(pid, controller, root):
            with contextlib.suppress(OSError):
                fd = os.open(rooted(root, f"{directory}/cpu.stat"), os.O_RDONLY | os.O_CLOEXEC)
                if _has_quota_rows(fd):
                    fds.append(fd)
                else:
                    os.close(fd)
    return fds


def _has_quota_rows(fd: int) -> bool:
    """The root, and a cgroup without the cpu controller, count no throttling."""
    try:
        text = os.pread(fd, _READ_BYTES, 0)
    except OSError:
        return False
    return any(name in text for name in _FIELDS)


def _throttled_in(fd: int) -> int:
    try:
        lines = os.pread(fd, _READ_BYTES, 0).splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(b" ")
        if name in _FIELDS and value.isdigit():
            return int(value) * _FIELDS[name]
    return 0
