"""The config directory: which VM files are there, complete, and what stands in them.

Strategy: every wake-up compares the whole directory with what was last reported (identity, size and times of each file),
so a lost event is found by the next look. A file that somebody has open for writing is not read before it is closed: the
kernel refuses a read lease on it (man 2 fcntl, F_SETLEASE). A directory that cannot be read says nothing about its files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import closing

import trio
from attrs import frozen

from qsup.errors import InvalidInput, KernelRefused, Problem
from qsup.spec.document import MAXIMUM_FILE_BYTES, decode
from qsup.supervisor.inotify import DirectoryWatch

RESCAN_INTERVAL_S = 15.0
BUSY_RESCAN_S = 0.5
MISSING_RESCAN_S = 2.0
REMOVAL_SETTLE_S = 1.0
"""Some programs replace a file by removing it and writing it anew: only what is still missing after this time is removed."""
SUFFIX = ".toml"

_Stamp = tuple[int, int, int, int, int]


@frozen
class ConfigFile:
    """One VM file as found: its text, or the problem that kept it from being read. `removed`: it is there no more."""

    name: str
    path: str
    text: str | None = None
    problems: tuple[Problem, ...] = ()
    removed: bool = False


@frozen
class ConfigDirTrouble:
    """The directory cannot be looked at; every VM stays as it is. None: it can be looked at again."""

    message: str | None


@frozen
class Look:
    """One look at the whole directory: what differs from the look before, and the stamps to compare the next one with.

    `busy`: a file is open for writing and was left for later.
    """

    files: tuple[ConfigFile, ...]
    stamps: Mapping[str, _Stamp]
    busy: bool = False


ConfigNews = tuple[ConfigFile, ...] | ConfigDirTrouble


async def watch_config_dir(path: str, report: Callable[[ConfigNews], None]) -> None:
    """Report all files at the first look (perhaps none), then what changes, for ever.

    Touches: the directory and its *.toml files, in a worker thread.
    """
    stamps: Mapping[str, _Stamp] | None = None
    trouble: str | None = None
    while True:
        with closing(_watch_of(path)) as watch:
            try:
                look = await trio.to_thread.run_sync(look_at, path, stamps or {})
                if any(file.removed for file in look.files):
                    await trio.sleep(REMOVAL_SETTLE_S)
                    look = await trio.to_thread.run_sync(look_at, path, stamps or {})
            except KernelRefused as refusal:
                if refusal.message != trouble:
                    trouble = refusal.message
                    report(ConfigDirTrouble(trouble))
                await trio.sleep(MISSING_RESCAN_S)
                continue
            if trouble is not None:
                trouble = None
                report(ConfigDirTrouble(None))
            if look.files or stamps is None:
                report(look.files)
            stamps = look.stamps
            with trio.move_on_after(BUSY_RESCAN_S if look.busy else RESCAN_INTERVAL_S):
                await watch.wait_changed()


class _Polling:
    """Stands in where no watch can be had (too many of them, no such directory): the next look comes with time alone."""

    async def wait_changed(self) -> None:
        await trio.sleep(MISSING_RESCAN_S)

    def close(self) -> None:
        pass


def _watch_of(path: str) -> DirectoryWatch | _Polling:
    """A watch that is new at every look: so it holds whatever directory has the name by then."""
    try:
        return DirectoryWatch(path)
    except KernelRefused:
        return _Polling()


def look_at(path: str, stamps: Mapping[str, _Stamp]) -> Look:
    """Compare the directory with the stamps of the look before and read what differs.

    Raises:
        KernelRefused: `supervisor.config-dir`; the directory cannot be listed.
    """
    try:
        names = sorted(entry for entry in os.listdir(path) if entry.endswith(SUFFIX) and not entry.startswith("."))
    except OSError as error:
        raise KernelRefused(
            "supervisor.config-dir",
            path,
            error.errno or errno.EIO,
            f"the config directory {path} cannot be read: {error.strerror}",
            f"create it (mkdir -p {path}) or name another with --config-dir",
        ) from error
    found: list[ConfigFile] = []
    seen: dict[str, _Stamp] = {}
    busy = False
    for entry in names:
        result = _look_at_file(path, entry, stamps.get(entry))
        if result is None:
            busy = True
            if entry in stamps:
                seen[entry] = stamps[entry]
            continue
        stamp, file = result
        seen[entry] = stamp
        if file is not None:
            found.append(file)
    gone = sorted(set(stamps) - set(seen) - ({*names} if busy else set()))
    found.extend(ConfigFile(_name_of(entry), os.path.join(path, entry), removed=True) for entry in gone)
    return Look(tuple(found), seen, busy)


def _look_at_file(directory: str, entry: str, known: _Stamp | None) -> tuple[_Stamp, ConfigFile | None] | None:
    """The file's stamp and, where it differs from the known one, the file; None while somebody writes it."""
    path = os.path.join(directory, entry)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        stamp = (0, 0, 0, 0, -(error.errno or 1))
        return stamp, None if stamp == known else _unreadable(path, entry, f"cannot be opened: {error.strerror}")
    try:
        status = os.fstat(descriptor)
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if stamp == known:
            return stamp, None
        if not stat.S_ISREG(status.st_mode):
            return stamp, _unreadable(path, entry, "is not a regular file")
        if _is_being_written(descriptor):
            return None
        return stamp, _read(descriptor, path, entry)
    finally:
        os.close(descriptor)


def _is_being_written(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _read(descriptor: int, path: str, entry: str) -> ConfigFile:
    try:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            raw = file.read(MAXIMUM_FILE_BYTES + 1)
        return ConfigFile(_name_of(entry), path, text=decode(raw, file=path))
    except InvalidInput as invalid:
        return ConfigFile(_name_of(entry), path, problems=invalid.problems)
    except OSError as error:
        return _unreadable(path, entry, f"cannot be read: {error.strerror}")


def _unreadable(path: str, entry: str, what: str) -> ConfigFile:
    problem = Problem("supervisor.file-unreadable", f"the file {what}", "make it a readable regular file", file=path)
    return ConfigFile(_name_of(entry), path, problems=(problem,))


def _name_of(entry: str) -> str:
    return entry[: -len(SUFFIX)]
