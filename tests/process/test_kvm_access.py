"""Access to a device like /dev/kvm: by its group, or by an ACL entry that comes and goes and touches no other."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.errors import KernelRefused
from qsup.process.kvm_access import grant_kvm, revoke_kvm
from qsup.process.posix_acl import (
    GROUP,
    MASK,
    USER,
    Acl,
    AclEntry,
    format_acl,
    parse_acl,
    read_acl,
    with_user,
    without_user,
    write_acl,
)

pytestmark = pytest.mark.root
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def device() -> Iterator[str]:
    """A device node on devtmpfs, like /dev/kvm before any rule of udev."""
    path = f"/dev/qsup-test-{os.getpid()}"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chmod(path, 0o600)
    yield path
    os.unlink(path)


def _opens(path: str, uid: int, groups: tuple[int, ...] = ()) -> bool:
    words = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={','.join(map(str, groups or (uid,)))}", "sh", "-c"]
    return subprocess.run([*words, f"exec 3<>{path}"], capture_output=True).returncode == 0


def _users(acl: Acl) -> dict[int, int]:
    return {entry.who: entry.rights for entry in acl if entry.tag == USER}


@ROOT
def test_a_device_of_root_alone_gets_an_entry_that_is_taken_away_again(device: str) -> None:
    before = read_acl(device)
    assert not _opens(device, 7_000_001)
    assert grant_kvm(7_000_001, device) == ()
    assert grant_kvm(7_000_002, device) == ()
    assert grant_kvm(7_000_001, device) == (), "twice is once"
    assert _users(read_acl(device)) == {7_000_001: 6, 7_000_002: 6}
    assert _opens(device, 7_000_001)
    assert _opens(device, 7_000_002)
    assert not _opens(device, 7_000_003)
    revoke_kvm(7_000_001, device)
    assert not _opens(device, 7_000_001)
    assert _opens(device, 7_000_002)
    revoke_kvm(7_000_002, device)
    revoke_kvm(7_000_002, device)
    assert read_acl(device) == before
    assert stat.S_IMODE(os.stat(device).st_mode) == 0o600, "no right of the mask stays behind in the mode"


@ROOT
def test_a_group_with_the_right_is_what_qemu_gets(device: str) -> None:
    os.chown(device, 0, 7_000_100)
    os.chmod(device, 0o660)
    assert grant_kvm(7_000_001, device) == (7_000_100,)
    assert _opens(device, 7_000_001, (7_000_100,))
    assert _users(read_acl(device)) == {}


@ROOT
def test_a_group_whose_bits_are_only_the_mask_is_not_trusted(device: str) -> None:
    os.chown(device, 0, 7_000_100)
    write_acl(device, with_user(read_acl(device), 1234, 6))
    assert stat.S_IMODE(os.stat(device).st_mode) == 0o660
    assert grant_kvm(7_000_001, device) == ()
    assert _opens(device, 7_000_001)


@ROOT
def test_a_device_for_everybody_needs_nothing(device: str) -> None:
    os.chmod(device, 0o666)
    assert grant_kvm(7_000_001, device) == ()
    assert _users(read_acl(device)) == {}


def test_a_missing_device_is_refused_by_name_and_nothing_to_revoke(tmp_path: Path) -> None:
    with pytest.raises(KernelRefused, match="No such file") as caught:
        grant_kvm(5, str(tmp_path / "kvm"))
    assert caught.value.code == "process.kvm-refused"
    revoke_kvm(5, str(tmp_path / "kvm"))


_named = st.builds(AclEntry, st.sampled_from([USER, GROUP]), st.integers(0, 2**32 - 2), st.integers(0, 7))
_BASE = (AclEntry(0x01, 2**32 - 1, 6), AclEntry(0x04, 2**32 - 1, 4), AclEntry(0x20, 2**32 - 1, 0))


@given(st.lists(_named, unique_by=lambda entry: (entry.tag, entry.who)), st.integers(0, 2**32 - 2))
def test_other_entries_are_preserved_and_removal_undoes(others: list[AclEntry], uid: int) -> None:
    acl = (*_BASE, *(entry for entry in others if (entry.tag, entry.who) != (USER, uid)))
    granted = with_user(acl, uid, 6)
    assert set(acl) < set(granted)
    (mask,) = (entry for entry in granted if entry.tag == MASK)
    assert all(entry.rights & ~mask.rights == 0 for entry in granted if entry.tag in (USER, GROUP))
    assert {entry for entry in without_user(granted, uid) if entry.tag != MASK} == set(acl)
    assert set(parse_acl(format_acl(granted))) == set(granted)
