"""Images on disk: chains, what is wrong with them, and who holds them."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.host.block_devices import node_of_device
from qsup.host.image_locks import ImageLocks, read_image_locks
from qsup.host.images import CHAIN_LIMIT, backing_path, read_image_facts
from tests.host.qcow2_writer import qcow2_header, write_image


def overlay(path: Path, backing: str, backing_format: str | None = "qcow2") -> str:
    declared = backing_format.encode() if backing_format else None
    return write_image(path, qcow2_header(backing=backing.encode(), backing_format=declared))


def test_a_raw_image(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"\0" * 5000)
    (facts,) = read_image_facts(str(path), "raw")
    assert (facts.problem, facts.size_bytes, facts.virtual_size_bytes, facts.backing) == (None, 5000, 5000, None)
    assert not facts.locked_by_other
    assert facts.writable
    assert facts.file_id == f"{path.stat().st_dev}-{path.stat().st_ino}"


def test_a_chain_of_three_with_relative_names(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/root.img").write_bytes(b"\0" * 1024)
    middle = overlay(tmp_path / "base/middle.qcow2", "root.img", "raw")
    top = overlay(tmp_path / "top.qcow2", "base/middle.qcow2")
    chain = read_image_facts(top, "qcow2")
    assert [facts.path for facts in chain] == [top, middle, str(tmp_path / "base/root.img")]
    assert [facts.format for facts in chain] == ["qcow2", "qcow2", "raw"]
    assert [facts.backing_format for facts in chain] == ["qcow2", "raw", None]
    assert [facts.virtual_size_bytes for facts in chain] == [GIB, GIB, 1024]
    assert [facts.problem for facts in chain] == [None, None, None]


def test_relative_names_follow_the_name_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    overlay(tmp_path / "real/top.qcow2", "base.qcow2")
    (tmp_path / "link.qcow2").symlink_to("real/top.qcow2")
    assert read_image_facts(str(tmp_path / "link.qcow2"), "qcow2")[0].backing == str(tmp_path / "base.qcow2")


def test_two_names_of_one_file_have_one_id(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"x")
    os.link(tmp_path / "a.raw", tmp_path / "b.raw")
    assert (
        read_image_facts(str(tmp_path / "a.raw"), "raw")[0].file_id
        == read_image_facts(str(tmp_path / "b.raw"), "raw")[0].file_id
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing", "does not exist"),
        ("dangling", "points to a file that does not exist"),
        ("directory", "is a directory"),
        ("fifo", "is neither a regular file nor a block device"),
        ("null", "is neither a regular file nor a block device"),
        ("empty", "is empty"),
        ("text", "is not a qcow2 image"),
        ("loop", "cannot be opened: Too many levels of symbolic links"),
        ("missing/below", "does not exist"),
        ("text/below", "cannot be opened: Not a directory"),
        ("n\0ul", "cannot be opened: the name holds a NUL byte"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello\n")
    os.mkfifo(tmp_path / "fifo")
    (facts,) = read_image_facts(f"{tmp_path}/{name}", "qcow2")
    assert facts.problem is not None
    assert facts.problem.startswith(f"{tmp_path}/{name} ")
    assert problem in facts.problem


def test_a_missing_backing_file_is_named(tmp_path: Path) -> None:
    top, below = read_image_facts(overlay(tmp_path / "top.qcow2", "/nonexistent/base.qcow2"), "qcow2")
    assert top.problem is None
    assert below.problem == "/nonexistent/base.qcow2 does not exist"


def test_an_undeclared_backing_format_ends_the_chain(tmp_path: Path) -> None:
    overlay(tmp_path / "base.qcow2", "/etc/passwd", "raw")
    (top,) = read_image_facts(overlay(tmp_path / "top.qcow2", "base.qcow2", None), "qcow2")
    assert top.backing == str(tmp_path / "base.qcow2")
    assert "does not declare the format" in (top.problem or "")


@pytest.mark.parametrize("name", ['json:{"driver":"raw"}', "nbd://host/x", "file://x", "fat:/etc", "ssh:x", "a:b/c"])
def test_backing_names_that_are_no_paths(tmp_path: Path, name: str) -> None:
    (facts,) = read_image_facts(overlay(tmp_path / "top.qcow2", name), "qcow2")
    assert "only paths of files are accepted" in (facts.problem or "")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("b.img", "/srv/b.img"),
        ("/x/b", "/x/b"),
        ("file:b", "/srv/b"),
        ("./a:b", "/srv/./a:b"),
        ("../b", "/srv/../b"),
        ("", None),
    ],
)
def test_backing_paths(name: str, path: str | None) -> None:
    assert backing_path("/srv/top.qcow2", name) == path


def test_a_foreign_format_below(tmp_path: Path) -> None:
    _, below = read_image_facts(overlay(tmp_path / "top.qcow2", "base.vmdk", "vmdk"), "qcow2")
    assert "has the format 'vmdk'; qcow2 and raw are accepted" in (below.problem or "")


def test_a_loop_ends(tmp_path: Path) -> None:
    overlay(tmp_path / "b.qcow2", "a.qcow2")
    chain = read_image_facts(overlay(tmp_path / "a.qcow2", "b.qcow2"), "qcow2")
    assert len(chain) == 3
    assert chain[-1].problem == f"{tmp_path}/a.qcow2 is its own backing file"


def test_a_chain_that_is_too_deep_ends(tmp_path: Path) -> None:
    for number in range(CHAIN_LIMIT + 5):
        overlay(tmp_path / f"{number}.qcow2", f"{number + 1}.qcow2")
    chain = read_image_facts(str(tmp_path / "0.qcow2"), "qcow2")
    assert len(chain) == CHAIN_LIMIT + 1
    assert "too deep" in (chain[-1].problem or "")


@pytest.mark.parametrize(
    ("byte", "kind", "locks"),
    [
        (None, fcntl.F_RDLCK, ImageLocks(False, False)),
        (100, fcntl.F_RDLCK, ImageLocks(False, False)),  # a reader that shares writing
        (101, fcntl.F_RDLCK, ImageLocks(True, True)),  # a writer
        (103, fcntl.F_RDLCK, ImageLocks(True, True)),  # one that resizes
        (200, fcntl.F_RDLCK, ImageLocks(True, True)),  # one that lets nobody read
        (201, fcntl.F_RDLCK, ImageLocks(False, True)),  # a reader that lets nobody write: a backing file in use
        (202, fcntl.F_RDLCK, ImageLocks(False, False)),
    ],
)
def test_lock_bytes(tmp_path: Path, byte: int | None, kind: int, locks: ImageLocks) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x")
    with path.open("r+b") as holder, path.open("rb") as asker:
        if byte is not None:
            fcntl.fcntl(holder, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
        assert read_image_locks(asker.fileno()) == locks


@pytest.mark.live
def test_locks_of_a_real_qemu(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(MIB))
    top = tmp_path / "top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", top], check=True)
    assert [facts.locked_by_other for facts in read_image_facts(str(top), "qcow2")] == [False, False]
    blockdev = f"driver=qcow2,node-name=top,file.driver=file,file.filename={top}"
    words = ["-S", "-display", "none", "-nodefaults", "-machine", "q35,accel=tcg", "-qmp", "stdio", "-blockdev", blockdev]
    command = ["qemu-system-x86_64", *words, "-device", "virtio-blk-pci,drive=top"]
    qemu = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        qemu.stdin.write(b'{"execute": "qmp_capabilities"}\n')
        qemu.stdin.flush()
        # The greeting may come before the devices are made; the first answer comes after.
        assert b"QMP" in qemu.stdout.readline()
        assert b"return" in qemu.stdout.readline()
        facts_of_top, facts_of_base = read_image_facts(str(top), "qcow2")
    finally:
        qemu.kill()
        qemu.communicate()
    assert (facts_of_top.locked_by_other, facts_of_top.written_by_other) == (True, True)
    assert (facts_of_base.locked_by_other, facts_of_base.written_by_other) == (True, False)
    assert facts_of_top.virtual_size_bytes == MIB


@pytest.mark.live
@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
@pytest.mark.parametrize("options", ["compat=0.10", "compat=1.1", "compat=1.1,cluster_size=2M", "compat=1.1,extended_l2=on"])
def test_images_that_qemu_img_makes(tmp_path: Path, options: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, tmp_path / "d.qcow2", "5G"], check=True)
    (facts,) = read_image_facts(str(tmp_path / "d.qcow2"), "qcow2")
    assert (facts.problem, facts.virtual_size_bytes) == (None, 5 * GIB)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=300))
def test_random_files_are_facts(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.qcow2"
    path.write_bytes(b"QFI\xfb" + content)
    assert read_image_facts(str(path), "qcow2")[0].path == str(path)


def test_the_node_of_a_device_through_device_mapper(tmp_path: Path) -> None:
    sys = tmp_path / "sys"
    (sys / "dev/block").mkdir(parents=True)
    (sys / "devices/pci/nvme/nvme0n1/nvme0n1p1").mkdir(parents=True)
    (sys / "devices/pci/numa_node").write_text("1\n")
    (sys / "devices/pci/nvme/numa_node").write_text("-1\n")
    (sys / "devices/virtual/dm-0/slaves").mkdir(parents=True)
    (sys / "devices/virtual/dm-0/slaves/nvme0n1p1").symlink_to(sys / "devices/pci/nvme/nvme0n1/nvme0n1p1")
    (sys / "dev/block/253:0").symlink_to(sys / "devices/virtual/dm-0")
    assert node_of_device(os.makedev(253, 0), str(tmp_path)) == 1
    assert node_of_device(os.makedev(253, 1), str(tmp_path)) is None
