"""What /proc tells about one process. Standard library only.

Source: `man 5 proc_pid_stat`, fields counted from 1; Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

import os
import select

_START_TICKS = 22
_EXIT_CODE = 52
_FIRST_AFTER_NAME = 3


def boot_id() -> str:
    """The kernel's id of this boot of the host."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def read_stat(pid: int) -> tuple[str, ...] | None:
    """The fields of /proc/PID/stat from the third (the state) on; None where there is no such process.

    Touches: /proc/PID/stat.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold anything, also ")" and spaces: a vCPU thread is called "CPU 0/KVM".
    return tuple(text[text.rindex(")") + 1 :].split())


def start_ticks_of(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None where there is no such process."""
    fields = read_stat(pid)
    return None if fields is None else int(fields[_START_TICKS - _FIRST_AFTER_NAME])


def zombie_wait_status(pid: int) -> int | None:
    """The wait status of a process that has ended and that its parent did not reap yet, else None.

    The kernel shows a zero to those who may not trace the process: only its own user and root can believe it.
    """
    fields = read_stat(pid)
    if fields is None or fields[0] != "Z" or not _may_see(pid):
        return None
    return int(fields[_EXIT_CODE - _FIRST_AFTER_NAME])


def _may_see(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            uids = next(line for line in file if line.startswith("Uid:")).split()[1:4]
    except (OSError, StopIteration):
        return False
    return os.geteuid() == 0 or set(uids) == {str(os.geteuid())}


def has_ended(pidfd: int) -> bool:
    """All threads of the process have ended; it may still be a zombie."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
