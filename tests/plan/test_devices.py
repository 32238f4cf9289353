"""Disks, nics, boot files, paths, addresses, machine types: what is derived, kept and refused."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from qsup.plan.guest_record import guest_record_of, hardware_changes
from qsup.plan.host_facts import FileFacts, HostFacts, ImageFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import ImagePlan
from qsup.spec.boot import BootSpec
from qsup.spec.cpu import CpuSpec
from qsup.spec.disk import DiskSpec
from qsup.spec.machine import MachineSpec
from qsup.spec.nic import NicSpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import ask, refusal, vm, warning_codes
from tests.plan.hosts import no_smt, with_bridge, with_images

TOP = ImageFacts("/srv/top.qcow2", "qcow2", backing="/srv/base.raw", backing_format="raw", file_id="1-10")
BASE = ImageFacts("/srv/base.raw", "raw", file_id="1-11")


def host(*images: ImageFacts) -> HostFacts:
    return with_bridge(with_images(no_smt(), *(images or (TOP, BASE))))


def with_disk(name: str = "web1", path: str = "/srv/top.qcow2", image_format: Any = "qcow2", **more: Any) -> VmSpec:
    return vm(name, disks=(DiskSpec(path=path, format=image_format, **more),))


def with_nic(name: str = "web1", **more: Any) -> VmSpec:
    return vm(name, nics=(NicSpec(bridge="br0", **more),))


def test_a_chain_is_followed_and_only_its_top_is_written() -> None:
    (disk,) = ask(with_disk(), host()).disks
    assert disk.chain == (
        ImagePlan("/srv/top.qcow2", "qcow2", readonly=False, file_id="1-10"),
        ImagePlan("/srv/base.raw", "raw", readonly=True, file_id="1-11"),
    )
    assert (disk.disk_id, disk.iothread_id, disk.aio, disk.pci_slot) == ("disk0", "io-disk0", "native", 3)


def test_aio_follows_the_cache_mode() -> None:
    assert ask(with_disk(cache="writeback"), host()).disks[0].aio == "threads"
    assert ask(with_disk(cache="directsync"), host()).disks[0].aio == "native"


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (evolve(TOP, problem="/srv/top.qcow2 does not exist"), "plan.image-unusable"),
        (evolve(TOP, backing_format=None), "plan.image-backing-format"),
        (evolve(TOP, backing_format="vmdk"), "plan.image-backing-format"),
        (evolve(TOP, backing="/srv/absent.raw"), "plan.image-unusable"),
        (evolve(TOP, backing="/srv/top.qcow2", backing_format="qcow2"), "plan.image-loop"),
        (evolve(TOP, locked_by_other=True), "plan.image-locked"),
        (evolve(TOP, writable=False), "plan.image-not-writable"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused(image: ImageFacts, code: str) -> None:
    assert list(refusal(with_disk(), host(image, BASE))) == [code]


def test_a_missing_backing_format_comes_with_the_command_that_mends_it() -> None:
    image = evolve(TOP, backing_format=None, problem="/srv/top.qcow2 declares no backing format")
    reason = refusal(with_disk(), host(image, BASE))["plan.image-backing-format"]
    assert reason.hint is not None
    assert "qemu-img rebase -u -F" in reason.hint


def test_reading_what_another_process_reads_is_fine_and_what_it_writes_is_not() -> None:
    assert ask(with_disk(readonly=True), host(evolve(TOP, locked_by_other=True), BASE)).disks
    assert "plan.image-locked" in refusal(with_disk(readonly=True), host(evolve(TOP, written_by_other=True), BASE))


def test_two_vms_cannot_write_one_image() -> None:
    ledger = Ledger().reserved(Holding(ask(with_disk("one"), host())))
    locked = host(evolve(TOP, locked_by_other=True), BASE)
    reasons = refusal(with_disk("two"), locked, ledger)
    assert list(reasons) == ["plan.image-held"]
    assert reasons["plan.image-held"].held_by == (("one", "writes it"),)


def test_nobody_writes_what_another_vm_reads_even_under_another_name() -> None:
    ledger = Ledger().reserved(Holding(ask(with_disk("one"), host())))
    alias = ImageFacts("/mnt/other-name.raw", "raw", file_id="1-11")
    spec = with_disk("two", "/mnt/other-name.raw", "raw")
    assert "plan.image-held" in refusal(spec, host(alias), ledger)
    assert ask(evolve(spec, disks=(evolve(spec.disks[0], readonly=True),)), host(alias), ledger).disks


def test_one_vm_cannot_write_an_image_twice() -> None:
    disk = DiskSpec(path="/srv/base.raw", format="raw")
    assert "plan.image-written-twice" in refusal(vm(disks=(disk, disk)), host())
    both = evolve(disk, readonly=True)
    assert len(ask(vm(disks=(both, both)), host()).disks) == 2


def test_the_lock_of_the_running_vm_itself_is_no_obstacle() -> None:
    plan = ask(with_disk(), host())
    ledger = Ledger().reserved(Holding(plan))
    assert ask(with_disk(), host(evolve(TOP, locked_by_other=True), BASE), ledger) == plan


def test_pci_slots_stay_with_the_device_when_the_file_changes() -> None:
    other = ImageFacts("/srv/new.raw", "raw", file_id="1-12")
    first = vm(disks=(DiskSpec("/srv/top.qcow2", "qcow2"),), nics=(NicSpec("br0"),))
    plan = ask(first, host())
    assert (plan.disks[0].pci_slot, plan.nics[0].pci_slot) == (3, 4)
    changed = evolve(first, disks=(DiskSpec("/srv/new.raw", "raw"), *first.disks))
    again = ask(changed, host(TOP, BASE, other), record=guest_record_of(plan))
    assert [disk.pci_slot for disk in again.disks] == [5, 3]
    assert again.nics[0].pci_slot == 4
    assert hardware_changes(guest_record_of(plan), again) == ("The device disk:/srv/new.raw (PCI slot 5) is new.",)


def test_too_many_devices_for_the_bus_are_refused() -> None:
    spec = vm(nics=tuple(NicSpec("br0") for _ in range(28)))
    assert refusal(spec, host())["plan.pci-slots-exhausted"].available == "27 slots"


def test_addresses_are_derived_the_same_each_time_and_differ_by_name_and_position() -> None:
    spec = vm(nics=(NicSpec("br0"), NicSpec("br0")))
    one, two = ask(spec, host()).nics
    (other,) = ask(with_nic("web2"), host()).nics
    assert len({one.mac, two.mac, other.mac}) == len({one.tap, two.tap, other.tap}) == 3
    first_octet = int(one.mac[:2], 16)
    assert first_octet & 0b11 == 0b10
    assert len(one.tap) <= 15
    assert one.tap.startswith("qweb1-")
    assert (one.vhost, one.mtu, one.create_bridge) == (True, 1500, False)


def test_the_host_seed_makes_two_hosts_differ() -> None:
    one = ask(with_nic(), host())
    other = ask(with_nic(), host(), policy=HostPolicy(identity_seed="host-b"))
    assert one.nics[0].mac != other.nics[0].mac
    assert one.uuid != other.uuid


def test_a_recorded_address_stays_and_a_written_one_wins() -> None:
    record = evolve(guest_record_of(ask(with_nic(), host())), macs={"nic:0": "02:00:00:00:00:07"}, uuid="u")
    assert ask(with_nic(), host(), record=record).nics[0].mac == "02:00:00:00:00:07"
    plan = ask(with_nic(mac="02:00:00:00:00:08"), host(), record=record)
    assert plan.nics[0].mac == "02:00:00:00:00:08"
    assert plan.uuid == "u"
    assert hardware_changes(record, plan) == ("The MAC address of nic:0 was 02:00:00:00:00:07 and will be 02:00:00:00:00:08.",)


def test_what_another_vm_has_is_refused_by_name() -> None:
    ledger = Ledger().reserved(Holding(ask(with_nic("one", mac="02:00:00:00:00:01", tap="tap-one"), host())))
    reasons = refusal(with_nic("two", mac="02:00:00:00:00:01", tap="tap-one"), host(), ledger)
    assert set(reasons) == {"plan.mac-held", "plan.tap-held"}
    assert reasons["plan.mac-held"].held_by == (("one", "02:00:00:00:00:01"),)
    assert "plan.tap-held" in refusal(with_nic(tap="br0"), host())


def test_a_network_that_is_not_there_is_refused_in_full() -> None:
    facts = evolve(no_smt(), vhost_net=False, may_network=False, links=frozenset({"eth0"}))
    spec = vm(nics=(NicSpec("br9", vhost=True, tap="much-too-long-a-name"), NicSpec("eth0", mac="02:00:00:00:00:01")))
    assert set(refusal(spec, facts)) == {
        "plan.network-not-permitted",
        "plan.bridge-absent",
        "plan.bridge-is-no-bridge",
        "plan.vhost-absent",
        "plan.tap-name-length",
    }


def test_a_bridge_is_created_when_the_settings_say_so() -> None:
    (nic,) = ask(vm(nics=(NicSpec("br9"),)), no_smt(), policy=HostPolicy(create_bridges=True)).nics
    assert nic.create_bridge


def test_an_mtu_above_the_bridge_is_a_warning() -> None:
    assert warning_codes(ask(with_nic(mtu=9000), host())) == ["plan.mtu-above-bridge"]


def test_uids_are_the_lowest_free_and_the_recorded_one_is_kept() -> None:
    one = ask(vm("one"), host())
    assert one.uid == 7_000_000
    ledger = Ledger().reserved(Holding(one))
    two = ask(vm("two"), host(), ledger)
    assert two.uid == 7_000_001
    assert ask(vm("two"), host(), record=guest_record_of(two)).uid == 7_000_001
    assert "plan.uids-exhausted" in refusal(vm("two"), host(), ledger, policy=HostPolicy(uid_count=1))
    assert ask(vm(), evolve(host(), may_change_uid=False)).uid is None


@pytest.mark.parametrize(
    ("asked", "recorded", "machine"),
    [
        ("q35", None, "pc-q35-7.2"),
        ("q35", "pc-q35-6.2", "pc-q35-6.2"),
        ("q35", "pc-i440fx-6.2", "pc-q35-7.2"),
        ("pc-q35-7.1", "pc-q35-6.2", "pc-q35-7.1"),
        ("pc", None, "pc-i440fx-7.2"),
    ],
)
def test_the_recorded_machine_version_stays(asked: str, recorded: str | None, machine: str) -> None:
    record = evolve(guest_record_of(ask(vm(), host())), machine=recorded) if recorded else None
    assert ask(vm(machine=MachineSpec(type=asked)), host(), record=record).machine == machine


def test_an_unknown_machine_is_refused_with_what_there_is() -> None:
    reason = refusal(vm(machine=MachineSpec(type="amiga")), host())["plan.machine-unknown"]
    assert reason.available == "pc, pc-i440fx-7.2, pc-q35-7.2, q35"
    strict = {"q35": "pc-q35-7.2", "pc-q35-7.2": "pc-q35-7.2"}
    assert "plan.machine-unknown" in refusal(vm(machine=MachineSpec(type="pc-q35-99")), host(), machine_aliases=strict)


def test_kvm_that_is_not_there() -> None:
    facts = evolve(host(), kvm_problem="/dev/kvm: permission denied")
    assert "permission denied" in refusal(vm(), facts)["plan.kvm-unavailable"].message
    plan = ask(vm(machine=MachineSpec(accel="auto")), facts)
    assert (plan.accel, plan.cpu_model, warning_codes(plan)) == ("tcg", "max", ["plan.emulated"])
    assert ask(vm(), host()).cpu_model == "host"
    assert ask(vm(cpu=CpuSpec(vcpus=1, model="qemu64")), host()).cpu_model == "qemu64"


def test_guest_siblings_need_topoext_where_the_host_is_amds() -> None:
    amd, intel = evolve(host(), cpu_vendor="AuthenticAMD"), evolve(host(), cpu_vendor="GenuineIntel")
    siblings = vm(cpu=CpuSpec(vcpus=2, threads=2))
    assert ask(siblings, amd).cpu_model == "host,topoext=on"
    assert ask(siblings, intel).cpu_model == "host"
    assert ask(vm(cpu=CpuSpec(vcpus=2)), amd).cpu_model == "host"
    for model in ("host,topoext=off", "EPYC"):
        assert ask(vm(cpu=CpuSpec(vcpus=2, threads=2, model=model)), amd).cpu_model == model
    assert ask(vm(cpu=CpuSpec(vcpus=2, threads=2), machine=MachineSpec(accel="tcg")), amd).cpu_model == "max"


def test_boot_files_must_be_there() -> None:
    boot = BootSpec(kernel="/boot/vmlinuz", initrd="/boot/initrd", cmdline="quiet")
    facts = evolve(host(), files={"/boot/vmlinuz": FileFacts("/boot/vmlinuz", problem="permission denied")})
    reason = refusal(vm(boot=boot), facts)["plan.file-unusable"]
    assert reason.message == "boot.kernel cannot be used: /boot/vmlinuz: permission denied"
    good = evolve(host(), files={path: FileFacts(path) for path in ("/boot/vmlinuz", "/boot/initrd")})
    assert ask(vm(boot=boot), good).boot.cmdline == "quiet"


def test_uefi_gets_variables_of_its_own() -> None:
    assert "plan.uefi-absent" in refusal(vm(boot=BootSpec(uefi=True)), host())
    facts = evolve(host(), uefi_code="/usr/share/OVMF/CODE.fd", uefi_vars="/usr/share/OVMF/VARS.fd")
    boot = ask(vm(boot=BootSpec(uefi=True)), facts).boot
    assert boot.uefi_vars == "/var/lib/qsup/vms/web1/uefi-vars.fd"
    assert boot.uefi_vars_template == "/usr/share/OVMF/VARS.fd"


def test_a_socket_path_that_does_not_fit_is_refused() -> None:
    paths = ask(vm(), host()).paths
    assert paths.qmp_socket == "/run/qsup/vms/web1/qmp.sock"
    assert "plan.socket-path-too-long" in refusal(vm(), host(), policy=HostPolicy(run_dir="/" + "r" * 100))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    spec = evolve(with_disk(path="/srv/absent.raw", image_format="raw"), nics=(NicSpec("br9"),), boot=BootSpec(bios="/b"))
    reasons = refusal(spec, evolve(host(), kvm_problem="no KVM", pcpus=()))
    assert set(reasons) == {
        "plan.kvm-unavailable",
        "plan.no-pcpu",
        "plan.image-unusable",
        "plan.bridge-absent",
        "plan.file-unusable",
    }
