"""How a disk's requests travel, which QEMU does not tell: judged from what each way leaves behind in its process and its log.

Strategy: a libaio context or a ring belongs to an event loop (an iothread, or the main loop), not to a disk. So one that is
there vouches for a disk only where there are as many as event loops that need one. QEMU 7.2 makes them when it opens an image,
newer ones with the first request: a disk that nobody has used yet shows nothing. A line in the log that says so tells the
kind that fell back, not the disk.
Source: block/file-posix.c of QEMU 7.2 (raw_aio_attach_aio_context) and of 10.0 (raw_check_linux_aio, raw_check_linux_io_uring),
util/async.c (aio_setup_linux_aio, aio_setup_linux_io_uring).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from qsup.plan.vmplan import DiskPlan

UNUSED = "no request has come yet: with the first one it shows how they travel"
_NAMED_IN_LOG = {"io_uring": "io_uring", "native": "aio"}
_LEFT_BEHIND = {"io_uring": "rings", "native": "libaio contexts"}


@frozen
class AioFacts:
    """What the ways of asynchronous I/O leave behind in a process.

    `native_contexts` counts its libaio contexts, `uring_contexts` its io_uring descriptors; None: not readable, and
    `problem` may say why. `fallbacks` are the lines of QEMU's log in which it says that it took the thread pool instead.
    """

    native_contexts: int | None = None
    uring_contexts: int | None = None
    fallbacks: tuple[str, ...] = ()
    problem: str | None = None


@frozen
class AioSeen:
    """How the requests of one disk travel; `in_force` None: it cannot be told, and `note` says why.

    `unused`: nothing shows because no request has come, which is no fault.
    """

    in_force: str | None
    note: str = ""
    unused: bool = False


def aio_seen(disk: DiskPlan, disks: Sequence[DiskPlan], facts: AioFacts, requests: Mapping[str, int] | None) -> AioSeen:
    """How the requests of `disk` travel, which is one of `disks`.

    Args:
        requests: how many reads and writes each disk has had; None: QEMU does not tell.
    """
    if disk.aio == "threads":
        return AioSeen("threads")
    alike = [other for other in disks if other.aio == disk.aio]
    contexts = facts.native_contexts if disk.aio == "native" else facts.uring_contexts
    had = {} if requests is None else requests
    line = fallback_of(disk.aio, facts.fallbacks)
    if line is not None:
        return _fallen_back(disk, alike, contexts, had, line)
    if contexts is None:
        return AioSeen(None, facts.problem or "the kernel does not tell what is in the process")
    return _counted(disk, alike, contexts, had)


def fallback_of(aio: str, lines: Iterable[str]) -> str | None:
    """The first line that says of disks of this kind that they fell back: it names the kind."""
    for line in lines:
        named = next((kind for kind, word in _NAMED_IN_LOG.items() if word in line.lower()), None)
        if named == aio:
            return line
    return None


def _fallen_back(
    disk: DiskPlan, alike: Sequence[DiskPlan], contexts: int | None, requests: Mapping[str, int], line: str
) -> AioSeen:
    if len(alike) == 1 or (contexts == 0 and requests.get(disk.disk_id)):
        return AioSeen("threads", line)
    return AioSeen(None, f"one of the {len(alike)} disks with aio = {disk.aio} or more: {line}")


def _counted(disk: DiskPlan, alike: Sequence[DiskPlan], contexts: int, requests: Mapping[str, int]) -> AioSeen:
    if contexts >= len(_loops_of(alike)):
        return AioSeen(disk.aio)
    own = requests.get(disk.disk_id)
    if own == 0:
        return AioSeen(None, UNUSED, unused=True)
    if own is None:
        return AioSeen(None)
    if contexts == 0:
        return AioSeen("threads", f"nothing in the process shows {disk.aio}: the thread pool serves it")
    needed = len(_loops_of(other for other in alike if requests.get(other.disk_id)))
    if contexts >= needed:
        return AioSeen(disk.aio)
    there = f"{contexts} of the {needed} {_LEFT_BEHIND[disk.aio]} that its event loops need"
    return AioSeen(None, f"the process has {there}: which disk goes without is not told")


def _loops_of(disks: Iterable[DiskPlan]) -> frozenset[str]:
    """The event loops that need one in any case: where queues are shared out, requests come perhaps on the first alone."""
    return frozenset(disk.iothread_id or "" for disk in disks)
