"""A daemon without rights: what needs them is refused by name, all else works, in directories of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hugepages import pool_turn
from tests.live.evidence import leftovers, pool_pages
from tests.live.guests import LISTENER, rom_of, vm_text
from tests.live.harness import Daemon, clean_up, until
from tests.live.views import order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

UID = 61234
TCG = 'accel = "tcg"'


def words_to_become_a_user() -> tuple[str, ...]:
    """setpriv's words. Where the interpreter lies in root's home, the right to read there stays, and no other."""
    plain = ("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    reading = "dac_read_search"
    able = (*plain[:-2], f"--bounding-set=-all,+{reading}", f"--inh-caps=-all,+{reading}", f"--ambient-caps=+{reading}")
    tried = subprocess.run([*plain, sys.executable, "-c", "import qsup.daemon.main"], capture_output=True, check=False)
    return plain if tried.returncode == 0 else able


@pytest.fixture(scope="module")
def user() -> Iterator[Daemon]:
    """A daemon that an ordinary user runs, on directories that he can reach, other than pytest's own."""
    with tempfile.TemporaryDirectory(prefix="qsup-") as path:
        root = Path(path)
        root.chmod(0o755)
        daemon = Daemon(root)
        for directory in (daemon.config_dir, daemon.run_dir, daemon.state_dir):
            os.chown(directory, UID, UID)
        daemon.settings.chmod(0o644)
        daemon.prefix = words_to_become_a_user()
        daemon.start()
        try:
            yield daemon
        finally:
            clean_up(daemon)
        assert leftovers(daemon) == []


def off(text: str) -> str:
    """The same VM, not started by itself."""
    return text.replace("[vm]", "[vm]\nautostart = false", 1)


def refusal(daemon: Daemon, name: str, text: str) -> str:
    """Drop the VM, start it, and return why it was refused."""
    daemon.drop(name, off(text))
    wait_known(daemon, name)
    error = order(daemon, "start", name, check=69)["error"]
    assert error["hint"]
    message: str = error["message"]
    return message


def test_a_tcg_guest_lives_its_whole_life(user: Daemon) -> None:
    user.drop("plain", vm_text(rom_of(user, "listener", LISTENER), machine=TCG))
    view = user.wait_phase("plain", "running")
    assert (view["accel"], view["uid"]) == ("tcg", None)
    status = Path(f"/proc/{view['pid']}/status").read_text()
    assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert {row["verdict"] for row in view["threads"]} == {"ok"}
    place = user.run_dir / "vms" / "plain"
    assert {path.stat().st_uid for path in (place, *place.iterdir())} == {UID}
    until(lambda: Path(view["serial_log"]).read_bytes() == b"ready\n", "the guest speaks")
    assert order(user, "pause", "plain")["phase"] == "paused"
    assert order(user, "resume", "plain")["phase"] == "running"
    user.kill()
    user.start()
    adopted = wait_view(user, "plain", lambda now: now["phase"] == "running", "the next daemon takes it over")
    assert (adopted["pid"], adopted["adopted"]) == (view["pid"], True)
    assert order(user, "stop", "plain", "--force")["phase"] == "absent"
    assert not place.exists()


def test_kvm_is_refused_by_name_where_the_device_is_closed(user: Daemon) -> None:
    if os.stat("/dev/kvm").st_mode & 0o006 == 0o006:
        pytest.skip("/dev/kvm is open to everybody here")
    message = refusal(user, "kvm", user.halting())
    assert "/dev/kvm" in message
    assert str(UID) in message


def test_a_nic_is_refused_by_the_capability_that_it_needs(user: Daemon) -> None:
    message = refusal(user, "net", vm_text(user.rom, machine=TCG, more='[[nic]]\nbridge = "br0"\n'))
    assert "CAP_NET_ADMIN" in message


def test_a_pool_that_is_too_small_stays_so(user: Daemon) -> None:
    with pool_turn():
        before = pool_pages()
        memory = f'size = "{(before[1] + 8) * 2}MiB"\nhugepages = "2MiB"\nprealloc = false'
        assert refusal(user, "huge", vm_text(user.rom, machine=TCG, memory=memory))
        assert pool_pages() == before
    assert view_of(user, "huge")["phase"] == "absent"


def test_an_image_that_only_root_may_read_is_refused_by_name(user: Daemon) -> None:
    image = user.root / "closed.raw"
    image.write_bytes(bytes(1 << 20))
    image.chmod(0o400)
    user.drop("disk", off(vm_text(user.rom, machine=TCG, more=f'[[disk]]\npath = "{image}"\n')))
    wait_known(user, "disk")
    error = order(user, "start", "disk", check=69)["error"]
    assert str(image) in error["message"]


def test_only_its_user_and_root_command_it(user: Daemon) -> None:
    stranger = ("setpriv", "--reuid", str(UID + 1), "--regid", str(UID + 1), "--clear-groups")
    tried = subprocess.run([*stranger, "test", "-w", "api.sock"], cwd=user.run_dir, capture_output=True, check=False)
    assert tried.returncode == 1, "connecting takes the right to write"
    own = ("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups")
    assert subprocess.run([*own, "test", "-w", "api.sock"], cwd=user.run_dir, check=False).returncode == 0
