"""Reads what a process has taken of the host. Costs a millisecond: for what is asked now and then, never for a fast cycle.

psutil is imported at the first call: its import alone takes longer than a look.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qsup.host.sysfs import read_text
from qsup.truth.process_stats import ProcessStats

if TYPE_CHECKING:
    import psutil

# psutil leaves hugepages out: its rss is that of statm. Source: man 5 proc_pid_status.
_HUGEPAGES = re.compile(r"^HugetlbPages:\s+([0-9]{1,15}) kB$", re.ASCII | re.MULTILINE)


def read_process_stats(pid: int) -> ProcessStats | None:
    """The statistics of one process, all its threads together; None where it is gone or may not be looked at.

    Touches:
        /proc/PID/stat, /proc/PID/statm, /proc/PID/io, /proc/PID/status.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
            storage = _storage_of(process)
    except psutil.Error:
        return None
    found = _HUGEPAGES.search(read_text("/", f"/proc/{pid}/status") or "")
    return ProcessStats(
        user_s=times.user,
        system_s=times.system,
        resident_bytes=memory.rss,
        hugepages_bytes=int(found[1]) << 10 if found else 0,
        read_bytes=storage[0],
        written_bytes=storage[1],
    )


def _storage_of(process: psutil.Process) -> tuple[int | None, int | None]:
    import psutil

    try:
        counters = process.io_counters()
    except psutil.AccessDenied:
        return None, None
    return counters.read_bytes, counters.write_bytes
