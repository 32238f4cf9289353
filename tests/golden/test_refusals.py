"""Every refusal as the operator reads it: tests/golden/refusals/NAME.toml gives NAME.err, what `qsup start NAME` prints.

The file meets the golden host; worlds.py says what is otherwise there. Where the words come from a look at something real (an
image, /dev/kvm, a QEMU, a full file system), the test makes that thing and looks.
`pytest tests/golden --regenerate` writes the .err files; review the difference.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve

from qsup.api.client import Rejected
from qsup.api.wire import error_json
from qsup.argv.missing import missing_capabilities
from qsup.bytesize import KIB
from qsup.cli import exit_codes
from qsup.cli.render.fault import fault_text
from qsup.errors import InvalidInput, QsupError
from qsup.host.image_locks import PERMISSION_BASE, WRITE
from qsup.host.images import read_image_facts
from qsup.host.rights import read_kvm_problem
from qsup.plan.place import place
from qsup.plan.vmplan import VmPlan
from qsup.process.record import write_record
from qsup.process.run_dir import create_vm_dir
from qsup.spec.parse import parse_vm
from qsup.spec.vmspec import VmSpec
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.preparing import record_of
from qsup.supervisor.vm_state import VmState
from tests.argv.plans import CAPS
from tests.golden.worlds import WORLDS, World, world_of
from tests.host.qcow2_writer import qcow2_header, write_image
from tests.process.conftest import small_tmpfs

GOLDEN = Path(__file__).parent / "refusals"
CASES = sorted(path.stem for path in GOLDEN.glob("*.toml"))
IMAGES = "/srv/vm"
NOBODY = 65534


def told(name: str, error: QsupError) -> str:
    """What `qsup start` prints for the error, and its exit code."""
    status, body = error_json(error)
    rejected = Rejected(status, body)
    return f"{fault_text(rejected, name)}\nexit code {exit_codes.of_client_error(rejected)}\n"


def spec_of(name: str) -> VmSpec:
    file = f"{name}.toml"
    return parse_vm((GOLDEN / file).read_text(), file=f"/etc/qsup/vms.d/{file}", name=name)


def planned(spec: VmSpec, world: World) -> VmPlan:
    """The plan, where QEMU can do it."""
    plan = place(spec, world.facts, world.policy, world.ledger, None, world.caps.machine_aliases)
    missing = missing_capabilities(plan, world.caps)
    if missing:
        raise InvalidInput(missing)
    return plan


def read_and_planned(name: str) -> VmPlan:
    spec = spec_of(name)
    return planned(spec, world_of(name, spec))


def compare(name: str, error: QsupError, regenerate: bool, *private: Path) -> None:
    text = told(name, error)
    for path in private:
        text = text.replace(str(path), "/tmp/test")
    expected = GOLDEN / f"{name}.err"
    if regenerate:
        expected.write_text(text)
    assert text == expected.read_text()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


# What is real is looked at in a directory that stands for /srv/vm.


def _unreadable(directory: Path) -> None:
    image = directory / "private" / "web1.qcow2"
    image.parent.mkdir()
    write_image(image, qcow2_header())
    image.chmod(0)


IMAGE_MAKERS: Mapping[str, Callable[[Path], object]] = {
    "image-missing": lambda directory: None,
    "image-unreadable": _unreadable,
    "image-not-qcow2": lambda directory: write_image(directory / "web1.qcow2", b"KDMV"),
    "image-backing-format": lambda directory: write_image(
        directory / "web1.qcow2", qcow2_header(backing=b"golden.qcow2", backing_format=None)
    ),
    "image-locked": lambda directory: write_image(directory / "web1.raw", b"data"),
}


@contextmanager
def meanwhile(name: str, directory: Path) -> Iterator[None]:
    """What is so while the image is looked at: another open file writes it, as QEMU marks that; or the reader is nobody."""
    if name == "image-locked":
        with (directory / "web1.raw").open("rb+") as file:
            lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, PERMISSION_BASE + WRITE, 1, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
            yield
    elif name == "image-unreadable":
        with as_nobody():
            yield
    else:
        yield


def seen(spec: VmSpec, directory: Path) -> World:
    """The golden host with its images as they really lie in the directory."""
    real = [facts for disk in spec.disks for facts in read_image_facts(disk.path.replace(IMAGES, str(directory)), disk.format)]
    moved = [
        evolve(facts, **{
            name: value.replace(str(directory), IMAGES)
            for name in ("path", "problem", "backing")
            if (value := getattr(facts, name)) is not None
        })
        for facts in real
    ]  # fmt: skip
    return world_of(spec.name, spec).host(images={facts.path: facts for facts in moved})


@pytest.mark.parametrize("name", sorted(IMAGE_MAKERS))
def test_images_as_they_lie_there(name: str, tmp_path: Path, regenerate: bool) -> None:
    spec = spec_of(name)
    IMAGE_MAKERS[name](tmp_path)
    with meanwhile(name, tmp_path):
        world = seen(spec, tmp_path)
    with pytest.raises(QsupError) as caught:
        planned(spec, world)
    compare(name, caught.value, regenerate)


@pytest.mark.parametrize("name", ["kvm-absent", "kvm-denied"])
def test_kvm_as_it_is_opened(name: str, tmp_path: Path, regenerate: bool) -> None:
    (tmp_path / "dev").mkdir()
    if name == "kvm-absent":
        problem = read_kvm_problem(str(tmp_path))
    else:
        (tmp_path / "dev" / "kvm").touch(0)
        with as_nobody():
            problem = read_kvm_problem(str(tmp_path))
    assert problem is not None
    spec = spec_of(name)
    with pytest.raises(QsupError) as caught:
        planned(spec, world_of(name, spec).host(kvm_problem=re.sub(r"uid \d+", f"uid {NOBODY}", problem)))
    compare(name, caught.value, regenerate)


OLD_QEMU = """#!/usr/bin/env python3
import json, socket
monitor = socket.socket(fileno=0)
def say(message):
    monitor.sendall(json.dumps(message).encode() + b"\\r\\n")
version = {"qemu": {"major": 6, "minor": 2, "micro": 0}, "package": ""}
say({"QMP": {"version": version, "capabilities": []}})
for line in monitor.makefile():
    command = json.loads(line)
    say({"return": {} if command["execute"] in ("qmp_capabilities", "quit") else [], "id": command.get("id")})
"""
BROKEN_QEMU = """#!/bin/sh
echo 'qemu-system-x86_64: error while loading shared libraries: libpixman-1.so.0: cannot open shared object file' >&2
exit 127
"""
BINARIES = {"qemu-missing": None, "qemu-too-old": OLD_QEMU, "qemu-broken": BROKEN_QEMU}


@pytest.mark.parametrize("name", sorted(BINARIES))
async def test_binaries_as_they_answer(name: str, tmp_path: Path, regenerate: bool) -> None:
    spec_of(name)
    binary = tmp_path / "qemu-system-x86_64"
    script = BINARIES[name]
    if script is not None:
        binary.write_text(script)
        binary.chmod(0o755)
    with pytest.raises(QsupError) as caught:
        await CapsCache().caps_of(str(binary))
    compare(name, caught.value, regenerate, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_run_directory(regenerate: bool) -> None:
    """A real one: the directory of the VM can still be made there, its launch record cannot be written."""
    name = "run-directory-full"
    with tempfile.TemporaryDirectory() as short:  # pytest's own are too long for a socket's path
        _fill_run_directory(name, Path(short), regenerate)


def _fill_run_directory(name: str, tmp_path: Path, regenerate: bool) -> None:
    spec = spec_of(name)
    with small_tmpfs(tmp_path / "run", 64 * KIB) as run_dir:
        (run_dir / "vms").mkdir()
        plan = planned(spec, world_of(name, spec).settings(run_dir=str(run_dir)))
        with pytest.raises(OSError, match="No space left"):
            (run_dir / "others").write_bytes(bytes(65 * KIB))
        create_vm_dir(plan.paths)
        record = record_of(VmState(name), plan, CAPS.version)
        with pytest.raises(QsupError) as caught:
            write_record(plan.paths.launch_record, record)
    compare(name, caught.value, regenerate, tmp_path)


REAL = {*IMAGE_MAKERS, "kvm-absent", "kvm-denied", *BINARIES, "run-directory-full"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in REAL])
def test_refusal_reads_as_recorded(name: str, regenerate: bool) -> None:
    with pytest.raises(QsupError) as caught:
        read_and_planned(name)
    compare(name, caught.value, regenerate)


def test_every_file_has_its_error_and_every_world_its_file() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.err")) == CASES
    assert {*WORLDS, *REAL} <= set(CASES)
