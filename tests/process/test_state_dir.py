"""What survives a reboot, and what must not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from qsup.errors import InvalidInput, KernelRefused
from qsup.plan.guest_record import GuestRecord
from qsup.plan.vmplan import PathsPlan
from qsup.process.identity import read_identity
from qsup.process.state_dir import (
    EndOrder,
    GrowthNote,
    ensure_uefi_vars,
    read_growth_notes,
    read_guest_record,
    read_order,
    write_growth_notes,
    write_guest_record,
    write_order,
)
from tests.process.conftest import paths_in

GUEST = GuestRecord(
    "u", "pc-q35-7.2", "host", {"disk:/a": 3}, {"nic:0": "52:54:00:00:00:01"}, 7_000_001, (frozenset({2, 3}),), ((0,),)
)


def test_a_guest_record_is_kept(tmp_path: Path) -> None:
    assert read_guest_record(str(tmp_path), "web1") is None
    write_guest_record(str(tmp_path), "web1", GUEST)
    assert read_guest_record(str(tmp_path), "web1") == GUEST
    assert stat.S_IMODE(os.stat(tmp_path / "vms/web1").st_mode) == 0o700


def test_a_damaged_guest_record_is_not_a_missing_one(tmp_path: Path) -> None:
    write_guest_record(str(tmp_path), "web1", GUEST)
    (tmp_path / "vms/web1/guest.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"guest\.json is damaged") as caught:
        read_guest_record(str(tmp_path), "web1")
    assert caught.value.problems[0].code == "process.note-unreadable"


def test_an_unreadable_path_is_the_kernels_refusal(tmp_path: Path) -> None:
    (tmp_path / "vms").write_text("")
    with pytest.raises(KernelRefused, match="Not a directory"):
        read_order(str(tmp_path), "web1")
    with pytest.raises(KernelRefused, match="make"):
        write_order(str(tmp_path), "web1", "off")


def test_an_order_holds_until_the_host_reboots(tmp_path: Path) -> None:
    assert read_order(str(tmp_path), "web1") is None
    write_order(str(tmp_path), "web1", "off")
    first = read_order(str(tmp_path), "web1")
    assert first is not None
    assert (first.power, first.end) == ("off", None)
    identity = read_identity(os.getpid())
    assert identity is not None
    write_order(str(tmp_path), "web1", "on", EndOrder(identity, restart=True))
    second = read_order(str(tmp_path), "web1")
    assert second is not None
    assert (second.power, second.end) == ("on", EndOrder(identity, restart=True, force=False))
    note = tmp_path / "vms/web1/power.json"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note.write_text(note.read_text().replace(boot_id, "another-boot"))
    assert read_order(str(tmp_path), "web1") is None


def test_uefi_variables_are_copied_once_and_never_again(tmp_path: Path) -> None:
    template, own = tmp_path / "VARS.fd", tmp_path / "state/vms/web1/uefi-vars.fd"
    template.write_bytes(b"fresh")
    assert ensure_uefi_vars(str(own), str(template))
    own.write_bytes(b"the guest's")
    template.unlink()
    assert not ensure_uefi_vars(str(own), str(template))
    assert own.read_bytes() == b"the guest's"


def test_a_missing_template_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KernelRefused, match=f"{tmp_path}/none: No such file") as caught:
        ensure_uefi_vars(f"{tmp_path}/vars.fd", f"{tmp_path}/none")
    assert caught.value.code == "process.uefi-template-refused"
    assert os.listdir(tmp_path) == []


def test_pool_notes_are_kept_in_order_and_only_in_this_boot(paths: PathsPlan) -> None:
    notes = GrowthNote(0, 2 << 20, 10, 512), GrowthNote(1, 1 << 30, 0, 2)
    assert read_growth_notes(paths) == ()
    write_growth_notes(paths, notes)
    assert read_growth_notes(paths) == notes
    file = Path(paths.run_dir, "pools.json")
    file.write_text(file.read_text().replace(Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "x"))
    assert read_growth_notes(paths) == ()
    write_growth_notes(paths, ())
    assert not file.exists()


def test_no_notes_need_no_directory(run_dir: str) -> None:
    nowhere = paths_in(run_dir, "none")
    write_growth_notes(nowhere, ())
    assert read_growth_notes(nowhere) == ()
