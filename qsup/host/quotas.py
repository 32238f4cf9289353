"""How long a CPU quota has held a process: from the cpu.stat of its cgroups, by descriptors that are kept.

A quota above (a slice's) holds as well as its own: the one that held longest counts, since times of both at once would count
twice. A cgroup counts only once the cpu controller is on there, as with its first quota: those that did not count are asked
again every few seconds.

Source: Documentation/admin-guide/cgroup-v2.rst (cpu.stat throttled_usec), sched-bwc.rst (v1: throttled_time in ns).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

from attrs import define

from qsup.host.cgroup import cgroup_dirs_of
from qsup.host.sysfs import rooted

_READ_BYTES = 4096
ASKED_AGAIN_S = 10.0
_FIELDS = {b"throttled_usec": 1000, b"throttled_time": 1}


@define(eq=False)
class _Kept:
    """The descriptors of one process: of cgroups that count, each with what it had counted before anybody looked, and of those
    that did not count when they were asked last."""

    counting: dict[int, int]
    others: list[int]
    asked_s: float


class Quotas:
    """Reads the throttled time of processes again and again.

    Touches: /proc/PID/cgroup and /proc/self/mountinfo once a process; cpu.stat of its cgroup and those above.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._kept: dict[int, _Kept] = {}

    def throttled_ns(self, pid: int) -> int:
        """In all, or since its first quota was seen; 0 where no quota is known."""
        kept = self._kept.get(pid)
        if kept is None:
            kept = self._kept[pid] = _open_all(pid, self._root)
        elif kept.others and time.monotonic() - kept.asked_s >= ASKED_AGAIN_S:
            _ask_again(kept)
        return max((_throttled_in(fd) - before for fd, before in kept.counting.items()), default=0)

    def keep_only(self, pids: Iterable[int]) -> None:
        """Close what belongs to other processes."""
        for pid in self._kept.keys() - set(pids):
            kept = self._kept.pop(pid)
            for fd in (*kept.counting, *kept.others):
                os.close(fd)

    def close(self) -> None:
        """Close everything."""
        self.keep_only(())


def _open_all(pid: int, root: str) -> _Kept:
    kept = _Kept({}, [], time.monotonic())
    for controller in ("", "cpu"):
        directories = list(cgroup_dirs_of(pid, controller, root))
        for directory in directories:
            with contextlib.suppress(OSError):
                fd = os.open(rooted(root, f"{directory}/cpu.stat"), os.O_RDONLY | os.O_CLOEXEC)
                if _has_quota_rows(fd):
                    kept.counting[fd] = 0
                elif directory != directories[-1]:
                    kept.others.append(fd)
                else:
                    os.close(fd)  # the host's root has no quota, ever
    return kept


def _ask_again(kept: _Kept) -> None:
    kept.asked_s = time.monotonic()
    kept.counting |= {fd: _throttled_in(fd) for fd in kept.others if _has_quota_rows(fd)}
    kept.others = [fd for fd in kept.others if fd not in kept.counting]


def _has_quota_rows(fd: int) -> bool:
    """The root, and a cgroup as long as the cpu controller is off there, count no throttling."""
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
