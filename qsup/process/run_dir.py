"""The run directory: what belongs to running VMs, and the locks that say who lives.

    RUN_DIR/              0755
      daemon.lock         held by the daemon; names its pid
      vms/                0711
        NAME/             0700  made whole by a rename, with its run lock in it
          run.lock        held by QEMU as long as it lives
          launch.json     the launch record
          pools.json      hugepages that were added for this VM
          *.sock          QEMU's sockets
          log/            serial log and stderr; a small tmpfs where the daemon is root
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from qsup.errors import KernelRefused
from qsup.plan.vmplan import PathsPlan
from qsup.process.locks import is_locked, take_lock
from qsup.process.log_dir import close_log_dir
from qsup.process.refusals import refusing

VMS = "vms"
LAUNCH_RECORD = "launch.json"
RUN_LOCK = "run.lock"
LOG_DIR = "log"
DAEMON_LOCK = "daemon.lock"


def vm_dir_of(run_dir: str, name: str) -> str:
    """The run directory of one VM."""
    return os.path.join(run_dir, VMS, name)


def run_lock_of(vm_dir: str) -> str:
    """The run lock of one VM, by its run directory."""
    return os.path.join(vm_dir, RUN_LOCK)


@contextmanager
def lock_run_dir(run_dir: str) -> Iterator[None]:
    """Make the run directory where it is missing, and hold it for this daemon.

    Raises:
        KernelRefused: process.run-dir-in-use (the message names the pid of its daemon), process.run-dir-refused,
            process.disk-full.

    Touches: RUN_DIR, RUN_DIR/vms, RUN_DIR/daemon.lock.
    """
    path = os.path.join(run_dir, DAEMON_LOCK)
    with refusing("process.run-dir-refused", run_dir, "use the run directory"):
        os.makedirs(run_dir, exist_ok=True)
        _own_mode(run_dir, 0o755)
        lock_fd = take_lock(path, 0o644)
    if lock_fd is None:
        message = f"another daemon, {_holder_text(path)}, uses the run directory {run_dir}"
        hint = "stop that one, or give this one a --run-dir of its own"
        raise KernelRefused("process.run-dir-in-use", path, errno.EBUSY, message, hint)
    try:
        with refusing("process.run-dir-refused", run_dir, "use the run directory"):
            vms = os.path.join(run_dir, VMS)
            os.makedirs(vms, exist_ok=True)
            _own_mode(vms, 0o711)
            _sweep(vms)
            os.ftruncate(lock_fd, 0)
            os.pwrite(lock_fd, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
    finally:
        os.close(lock_fd)


def _own_mode(path: str, mode: int) -> None:
    """Directories are made under the daemon's umask: give ours the mode that they are to have."""
    status = os.stat(path)
    if status.st_uid == os.geteuid() and status.st_mode & 0o777 != mode:
        os.chmod(path, mode)


def holder_of(run_dir: str) -> int | None:
    """The pid of the daemon that holds the run directory; None where nobody does, or where it has not said so yet.

    Touches: RUN_DIR/daemon.lock, /proc/PID/fd.
    """
    path = os.path.join(run_dir, DAEMON_LOCK)
    try:
        pid = _pid_in(path) if is_locked(path) else None
        # between taking the lock and writing its pid, a daemon holds a file that names the one before
        return pid if pid is not None and _has_open(pid, path) else None
    except OSError:
        return None


def _has_open(pid: int, path: str) -> bool:
    """The process has this file open."""
    wanted = os.stat(path)
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):
                return True
    return False


def _pid_in(path: str) -> int | None:
    try:
        with open(path, encoding="utf-8") as file:
            return int(json.load(file)["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _holder_text(path: str) -> str:
    pid = _pid_in(path)
    return "whose pid is not known" if pid is None else f"pid {pid}"


def _sweep(vms: str) -> None:
    """Remove what a daemon that died left half-made."""
    for entry in os.listdir(vms):
        if entry.startswith("."):
            shutil.rmtree(os.path.join(vms, entry), ignore_errors=True)


def vm_names(run_dir: str) -> tuple[str, ...]:
    """The VMs that have a directory there, sorted; half-made ones are left out.

    Raises:
        KernelRefused: process.run-dir-refused.
    """
    vms = os.path.join(run_dir, VMS)
    with refusing("process.run-dir-refused", vms, "read"):
        try:
            return tuple(sorted(entry.name for entry in os.scandir(vms) if not entry.name.startswith(".") and entry.is_dir()))
        except FileNotFoundError:
            return ()


def create_vm_dir(paths: PathsPlan) -> None:
    """Make the run directory of one VM, with its run lock, or take over what a dead one left.

    Raises:
        KernelRefused: process.vm-running, process.vm-dir-refused, process.disk-full. Nothing half-made is left then.
    """
    vm_dir = paths.run_dir
    parent, name = os.path.split(vm_dir)
    beside = os.path.join(parent, f".{name}.new")
    with refusing("process.vm-dir-refused", vm_dir, "make"):
        if os.path.isdir(vm_dir):
            _refuse_if_locked(vm_dir)
            _unlink(os.path.join(vm_dir, LAUNCH_RECORD))
            return
        shutil.rmtree(beside, ignore_errors=True)
        try:
            os.mkdir(beside, 0o700)
            os.close(os.open(run_lock_of(beside), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.rename(beside, vm_dir)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def remove_vm_dir(paths: PathsPlan) -> None:
    """Remove all that a VM has in the run directory; nothing happens where it has nothing.

    Raises:
        KernelRefused: process.vm-running, process.vm-dir-refused.

    Order: the launch record and the run lock go last, so that a daemon that dies meanwhile still finds out what this was.
    """
    remove_vm_dir_at(paths.run_dir)


def remove_vm_dir_at(vm_dir: str) -> None:
    """The same by the directory's path, for one whose record cannot be read."""
    with refusing("process.vm-dir-refused", vm_dir, "remove"):
        if not os.path.isdir(vm_dir):
            return
        _refuse_if_locked(vm_dir)
        close_log_dir(os.path.join(vm_dir, LOG_DIR))
        for entry in os.listdir(vm_dir):
            if entry not in (LAUNCH_RECORD, RUN_LOCK):
                _remove(os.path.join(vm_dir, entry))
        _unlink(os.path.join(vm_dir, LAUNCH_RECORD))
        _unlink(run_lock_of(vm_dir))
        os.rmdir(vm_dir)


def _refuse_if_locked(vm_dir: str) -> None:
    path = run_lock_of(vm_dir)
    with suppress(FileNotFoundError):
        if is_locked(path):
            message = f"a QEMU of this VM is running: it holds {path}"
            hint = "stop it first; `fuser` on that file names it"
            raise KernelRefused("process.vm-running", path, errno.EBUSY, message, hint)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        _unlink(path)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
