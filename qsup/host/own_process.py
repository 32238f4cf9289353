"""What this very process takes of the host."""

from __future__ import annotations

from attrs import frozen


@frozen
class OwnProcess:
    """`resident_bytes` and `open_fds` are of now; `cpu_s` since it began."""

    resident_bytes: int
    cpu_s: float
    open_fds: int
    most_fds: int


def read_own_process() -> OwnProcess:
    """This process, all its threads together.

    Touches:
        /proc/self/stat, /proc/self/statm, /proc/self/fd; getrlimit.
    """
    import psutil  # takes longer than a look: at the first one, not when the daemon starts

    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        return OwnProcess(
            resident_bytes=process.memory_info().rss,
            cpu_s=times.user + times.system,
            open_fds=process.num_fds(),
            most_fds=process.rlimit(psutil.RLIMIT_NOFILE)[0],
        )
