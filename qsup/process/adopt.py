"""What is there: the VMs of a run directory as an earlier daemon, or a crash, left them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from attrs import frozen

from qsup.process.handle import QemuProcess
from qsup.process.identity import ProcessIdentity, read_identity
from qsup.process.locks import is_locked
from qsup.process.record import LaunchRecord, UnreadableRecord, read_record
from qsup.process.run_dir import LAUNCH_RECORD, run_lock_of, vm_dir_of, vm_names


@frozen(eq=False)
class Found:
    """One VM directory.

    `process` is the recorded one, verified; the caller owns it (it may have ended: a zombie still tells how). `strays` are
    living processes that hold the run lock or work in this directory and are not that process: they are to be reported, not
    touched.
    """

    name: str
    vm_dir: str
    record: LaunchRecord | None
    unreadable: UnreadableRecord | None
    process: QemuProcess | None
    strays: tuple[ProcessIdentity, ...]

    @property
    def problem(self) -> str | None:
        """One sentence on what lives here and cannot be adopted; None where nothing does."""
        if not self.strays:
            return None
        pids = ", ".join(str(stray.pid) for stray in self.strays)
        if self.unreadable is not None:
            return f"process {pids} runs here without a usable launch record: {self.unreadable.path}: {self.unreadable.reason}"
        return f"process {pids} runs here, and no launch record names it"

    @property
    def is_leftover(self) -> bool:
        """Nothing lives here and no record tells what did: the directory can be removed."""
        return self.record is None and not self.strays


def scan(run_dir: str) -> tuple[Found, ...]:
    """Look at every VM directory, by name.

    Raises:
        KernelRefused: process.run-dir-refused.

    Touches: the run directory; /proc where a lock is held that no recorded process explains.
    """
    return tuple(_look_at(run_dir, name) for name in vm_names(run_dir))


def _look_at(run_dir: str, name: str) -> Found:
    vm_dir = vm_dir_of(run_dir, name)
    read = read_record(os.path.join(vm_dir, LAUNCH_RECORD))
    record = read if isinstance(read, LaunchRecord) else None
    unreadable = read if isinstance(read, UnreadableRecord) else None
    process = None
    if record is not None and record.identity is not None:
        process = QemuProcess.open(record.identity)
    strays: tuple[ProcessIdentity, ...] = ()
    if process is None or not process.is_alive():
        strays = find_strays(vm_dir)
    return Found(name, vm_dir, record, unreadable, process, strays)


def find_strays(vm_dir: str) -> tuple[ProcessIdentity, ...]:
    """Living processes that hold the directory's run lock, or are a QEMU whose words or working directory lie in it.

    Touches: /proc/PID/fd, cwd and cmdline of all processes that this user may look at.
    """
    real_dir = os.path.realpath(vm_dir)
    lock = run_lock_of(real_dir)
    held = _lock_is_held(lock)
    identities = (read_identity(pid) for pid in _pids() if (held and _has_open(pid, lock)) or _is_qemu_in(pid, real_dir))
    return tuple(identity for identity in identities if identity is not None)


def _lock_is_held(lock: str) -> bool:
    try:
        return is_locked(lock)
    except FileNotFoundError:
        return True  # nobody can tell: somebody may hold the removed file
    except OSError:
        return True


def _pids() -> Iterator[int]:
    own = os.getpid()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != own:
            yield int(entry)


def _has_open(pid: int, path: str) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}").removesuffix(" (deleted)") == path:
                return True
    except OSError:
        return False
    return False


def _is_qemu_in(pid: int, vm_dir: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        cwd = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return False
    inside = os.fsencode(vm_dir) + b"/"
    if not os.path.basename(words[0]).startswith(b"qemu"):
        return False
    return any(inside in word for word in words) or (cwd + "/").startswith(vm_dir + "/")
