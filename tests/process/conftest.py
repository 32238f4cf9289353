"""Real processes and real directories for the tests of this room. A run directory is short: sockets must fit 107 bytes."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from qsup.plan.vmplan import PathsPlan
from qsup.process.handle import QemuProcess
from qsup.process.identity import ProcessIdentity
from qsup.process.mounts import MNT_DETACH, mount_tmpfs, unmount
from qsup.process.run_dir import create_vm_dir


@pytest.fixture
def run_dir() -> Iterator[str]:
    """A run directory of its own; what is mounted in it is gone afterwards."""
    path = tempfile.mkdtemp(prefix="qsup-t-")
    yield path
    for directory, _, _ in os.walk(path, topdown=False):
        while os.path.ismount(directory):
            unmount(directory, MNT_DETACH)
    shutil.rmtree(path)


def paths_in(run_dir: str, name: str = "web1") -> PathsPlan:
    """The paths of a VM, as the planner lays them out."""
    vm_dir = f"{run_dir}/vms/{name}"
    return PathsPlan(
        run_dir=vm_dir,
        qmp_socket=f"{vm_dir}/qmp.sock",
        telemetry_socket=f"{vm_dir}/telemetry.sock",
        console_socket=f"{vm_dir}/console.sock",
        launch_record=f"{vm_dir}/launch.json",
        log_dir=f"{vm_dir}/log",
        serial_log=f"{vm_dir}/log/serial.log",
        stderr_log=f"{vm_dir}/log/stderr.log",
        state_dir=f"{run_dir}/state/vms/{name}",
    )


@pytest.fixture
def paths(run_dir: str) -> PathsPlan:
    """The paths of one VM whose directories are there."""
    os.mkdir(f"{run_dir}/vms")
    made = paths_in(run_dir)
    create_vm_dir(made)
    os.mkdir(made.log_dir)
    return made


@pytest.fixture
def reaper() -> Iterator[Callable[[ProcessIdentity], None]]:
    """Give it each process that a test starts: it does not outlive the test."""
    started: list[ProcessIdentity] = []
    yield started.append
    for identity in started:
        process = QemuProcess.open(identity)
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.close()


def rom(directory: Path, code: bytes) -> Path:
    """A 64 KiB ROM that begins at the reset vector with at most 16 bytes of code."""
    content = bytearray(b"\xf4" * 0x10000)
    content[0xFFF0 : 0xFFF0 + len(code)] = code
    path = directory / "guest.rom"
    path.write_bytes(content)
    return path


def hlt_rom(directory: Path) -> Path:
    """A guest that costs nothing: `cli; hlt; jmp` to hlt."""
    return rom(directory, b"\xfa\xf4\xeb\xfd")


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; what the kernel does outside of trio wakes nobody."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.005)


@contextmanager
def small_tmpfs(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system that is soon full."""
    path.mkdir()
    mount_tmpfs(str(path), f"size={size_bytes}")
    try:
        yield path
    finally:
        unmount(str(path), MNT_DETACH)
