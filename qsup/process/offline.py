"""Does it run? Answered without a daemon, from the files of the run directory. Standard library only.

Strategy: a held run lock says that a process of this VM lives; it is inherited by QEMU and ends with it. A free lock and a
launch record whose process is gone say that none does. Whatever cannot be looked at is "unknown", never "not-running": a
cluster that believes that starts the VM a second time.
"""

from __future__ import annotations

import json
import os
from typing import Literal

from qsup.process.locks import is_locked
from qsup.process.procfs import boot_id, has_ended, start_ticks_of

Answer = Literal["running", "not-running", "unknown"]


def status_offline(run_dir: str, name: str) -> Answer:
    """Whether a QEMU of this VM runs on this host.

    A VM that is just being launched counts as running. A run directory that does not exist (as after a reboot) holds no VM.

    Touches: RUN_DIR/vms/NAME, pidfd_open, /proc/PID/stat.
    """
    vm_dir = os.path.join(run_dir, "vms", name)
    try:
        os.stat(vm_dir)
        locked = _lock_state(os.path.join(vm_dir, "run.lock"))
        recorded = _recorded_state(os.path.join(vm_dir, "launch.json"))
    except FileNotFoundError:
        return "not-running"
    except OSError:
        return "unknown"
    if "running" in (locked, recorded):
        return "running"
    return "not-running" if "not-running" in (locked, recorded) else "unknown"


def _lock_state(path: str) -> Answer:
    try:
        return "running" if is_locked(path) else "not-running"
    except FileNotFoundError:
        return "unknown"


def _recorded_state(path: str) -> Answer:
    """Raises nothing but OSError."""
    try:
        with open(path, "rb") as file:
            identity = json.load(file)["identity"]
        if identity is None:
            return "unknown"
        pid, start_ticks, boot = identity["pid"], identity["start_ticks"], identity["boot_id"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return "unknown"
    if boot != boot_id():
        return "not-running"
    return "running" if _lives(pid, start_ticks) else "not-running"


def _lives(pid: int, start_ticks: int) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return start_ticks_of(pid) == start_ticks and not has_ended(pidfd)
    finally:
        os.close(pidfd)
