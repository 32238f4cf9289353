"""The descriptors for QEMU: what each kind is, and that a failure leaves none open."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from qsup.argv.option import Argv, FdNeed
from qsup.errors import KernelRefused
from qsup.process.fds import LONGEST_SOCKET_PATH_BYTES, open_fds, open_image


def _argv(*needs: FdNeed) -> Argv:
    return Argv("qemu", (), needs)


def _open_now() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_every_kind_is_opened_as_argv_asks(tmp_path: Path) -> None:
    image, readonly, blob = tmp_path / "disk.raw", tmp_path / "base.raw", tmp_path / "bios.bin"
    for path in (image, readonly, blob):
        path.write_bytes(path.name.encode())
        path.chmod(0o644)
    tap, vhost = os.memfd_create("tap"), os.memfd_create("vhost")
    argv = _argv(
        FdNeed("qmp", "listen", f"{tmp_path}/qmp.sock"),
        FdNeed("disk", "image", str(image), readonly=False),
        FdNeed("base", "image", str(readonly)),
        FdNeed("bios", "blob", str(blob)),
        FdNeed("log", "log", f"{tmp_path}/serial.log"),
        FdNeed("tap", "tap", "net0", queue=0),
        FdNeed("vhost", "vhost", "net0", queue=0),
    )
    before = _open_now()
    with open_fds(argv, taps={"net0": [tap]}, vhosts={"net0": [vhost]}) as bundle:
        numbers = dict(bundle.numbers)
        flags = {name: fcntl.fcntl(fd, fcntl.F_GETFL) for name, fd in numbers.items()}
        assert flags["disk"] & (os.O_ACCMODE | os.O_NONBLOCK) == os.O_RDWR
        assert flags["base"] & (os.O_ACCMODE | os.O_NONBLOCK) == os.O_RDONLY
        assert flags["bios"] & os.O_ACCMODE == os.O_RDONLY
        assert flags["log"] & (os.O_ACCMODE | os.O_APPEND) == os.O_WRONLY | os.O_APPEND
        assert not any(os.get_inheritable(fd) for fd in numbers.values())
        assert os.path.samestat(os.fstat(numbers["tap"]), os.fstat(tap))
        assert os.path.samestat(os.fstat(numbers["vhost"]), os.fstat(vhost))
        assert set(bundle.fds) == set(numbers.values())
        assert stat.S_IMODE(os.stat(f"{tmp_path}/serial.log").st_mode) == 0o600
    assert _open_now() == before, "the caller's own taps stay open, and nothing else"
    for fd in (tap, vhost):
        os.close(fd)


def test_a_listening_socket_can_be_connected_to_at_once_and_only_by_its_owner(tmp_path: Path) -> None:
    path = f"{tmp_path}/qmp.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with open_fds(_argv(FdNeed("qmp", "listen", path)), taps={}, vhosts={}), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(path)


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "qmp.sock"
    path.write_text("precious")
    with pytest.raises(KernelRefused, match="File exists") as caught:
        open_fds(_argv(FdNeed("qmp", "listen", str(path))), taps={}, vhosts={})
    assert caught.value.code == "process.socket-refused"
    assert path.read_text() == "precious"


def test_a_socket_path_that_is_too_long_is_refused_with_its_length(tmp_path: Path) -> None:
    path = f"{tmp_path}/".ljust(LONGEST_SOCKET_PATH_BYTES + 1, "x")
    with pytest.raises(KernelRefused, match="has 108 bytes; at most 107") as caught:
        open_fds(_argv(FdNeed("qmp", "listen", path)), taps={}, vhosts={})
    assert caught.value.code == "process.socket-path-too-long"


def test_the_longest_socket_path_works(tmp_path: Path) -> None:
    path = f"{tmp_path}/".ljust(LONGEST_SOCKET_PATH_BYTES, "x")
    open_fds(_argv(FdNeed("qmp", "listen", path)), taps={}, vhosts={}).close()
    assert os.path.exists(path)


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_blob_that_not_everybody_may_read_becomes_a_sealed_copy(tmp_path: Path, mode: int) -> None:
    blob = tmp_path / "initrd"
    blob.write_bytes(os.urandom(3 << 20))
    blob.chmod(mode)
    with open_fds(_argv(FdNeed("initrd", "blob", str(blob))), taps={}, vhosts={}) as bundle:
        fd = bundle.numbers["initrd"]
        assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:initrd")
        assert Path(f"/proc/self/fd/{fd}").read_bytes() == blob.read_bytes()
        assert os.fstat(fd).st_mode & stat.S_IROTH
        with pytest.raises(PermissionError):
            os.write(fd, b"x")


@pytest.mark.parametrize("kind", ["image", "blob"])
def test_directories_and_fifos_are_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(KernelRefused, match="only regular files and block devices") as caught:
            open_fds(_argv(FdNeed("disk", kind, str(path))), taps={}, vhosts={})  # type: ignore[arg-type]
        assert caught.value.code == f"process.{kind}-refused"


def test_an_image_is_opened_past_the_page_cache_only_where_asked(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(4096))
    for direct in (False, True):
        with open_fds(_argv(FdNeed("disk", "image", str(image), direct=direct)), taps={}, vhosts={}) as bundle:
            flags = fcntl.fcntl(bundle.numbers["disk"], fcntl.F_GETFL)
            assert bool(flags & os.O_DIRECT) is direct
            assert flags & os.O_ACCMODE == os.O_RDONLY


def test_an_image_that_cannot_be_had_past_the_page_cache_is_refused() -> None:
    before = _open_now()
    with pytest.raises(KernelRefused, match="direct I/O") as caught:
        open_image("/proc/self/status", readonly=True, direct=True)
    assert caught.value.code == "process.no-direct"
    assert _open_now() == before


def test_a_failure_closes_all_that_was_open_and_names_the_path(tmp_path: Path) -> None:
    before = _open_now()
    needs = FdNeed("qmp", "listen", f"{tmp_path}/qmp.sock"), FdNeed("disk", "image", f"{tmp_path}/none", readonly=False)
    with pytest.raises(KernelRefused, match=f"{tmp_path}/none: No such file") as caught:
        open_fds(_argv(*needs), taps={}, vhosts={})
    assert (caught.value.code, caught.value.errno) == ("process.image-refused", errno.ENOENT)
    assert caught.value.where == f"{tmp_path}/none"
    assert caught.value.hint is not None
    assert _open_now() == before


def test_closing_twice_closes_nobody_elses_descriptor(tmp_path: Path) -> None:
    bundle = open_fds(_argv(FdNeed("log", "log", f"{tmp_path}/log")), taps={}, vhosts={})
    bundle.close()
    again = os.open("/dev/null", os.O_RDONLY)
    bundle.close()
    os.close(again)
