"""What this very process takes of the host."""

from __future__ import annotations

import os
import resource
import time

from attrs import frozen

from qsup.host.sysfs import list_dir, number_of, read_text

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@frozen
class OwnProcess:
    """`resident_bytes` and `open_fds` are of now; `cpu_s` since it began."""

    resident_bytes: int | None
    cpu_s: float
    open_fds: int
    most_fds: int


def read_own_process() -> OwnProcess:
    """This process, all its threads together.

    Touches:
        /proc/self/statm, /proc/self/fd.
    """
    words = (read_text("/", "/proc/self/statm") or "").split()
    pages = number_of(words[1]) if len(words) > 1 else None
    return OwnProcess(
        resident_bytes=pages * _PAGE_BYTES if pages is not None else None,
        cpu_s=time.process_time(),
        open_fds=len(list_dir("/", "/proc/self/fd")),
        most_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
