"""What holds for every command line, whatever the plan."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.argv.build import build
from qsup.argv.caps import QemuCaps
from qsup.argv.disk import CACHE_FLAGS
from qsup.argv.option import Argv
from qsup.plan.vmplan import BootPlan, DiskPlan, ImagePlan, IothreadPlan, NicPlan, VmPlan
from tests.argv.plans import CAPS, disk, guest_node, huge_node, nic, rich_plan, values_of, vm_plan

JSON_FLAGS = ("-object", "-blockdev", "-netdev", "-device")


@st.composite
def disks(draw: st.DrawFn) -> tuple[DiskPlan, ...]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        depth = draw(st.integers(1, 4))
        readonly = draw(st.booleans())
        chain = [ImagePlan(f"/srv/{number}-{level}.qcow2", "qcow2", readonly or level > 0) for level in range(depth)]
        iothread_id = draw(st.sampled_from([None, "iothread0"]))
        cache = draw(st.sampled_from(sorted(CACHE_FLAGS)))
        found.append(disk(number, chain, readonly=readonly, cache=cache, iothread_id=iothread_id))
    return tuple(found)


@st.composite
def nics(draw: st.DrawFn) -> tuple[NicPlan, ...]:
    return tuple(
        nic(number, queues=draw(st.integers(1, 4)), vhost=draw(st.booleans()), boot_index=draw(st.sampled_from([None, 7])))
        for number in range(draw(st.integers(0, 3)))
    )


@st.composite
def plans(draw: st.DrawFn) -> VmPlan:
    node_of = draw(st.sampled_from([guest_node, huge_node]))
    count = draw(st.integers(1, 3))
    return vm_plan(
        machine=draw(st.sampled_from(["pc-q35-7.2", "pc-i440fx-7.2"])),
        accel=draw(st.sampled_from(["kvm", "tcg"])),
        guest_nodes=tuple(node_of(number, (number,), distances=(10,) * count) for number in range(count)),
        iothreads=(IothreadPlan("iothread0", frozenset({0})),),
        disks=draw(disks()),
        nics=draw(nics()),
        boot=BootPlan(kernel=draw(st.sampled_from([None, "/srv/k"])), uefi_code=draw(st.sampled_from([None, "/srv/c"]))),
        serial=draw(st.booleans()),
    )


def json_values(argv: Argv) -> list[dict[str, object]]:
    return [json.loads(value) for flag in JSON_FLAGS for value in values_of(argv, flag)]


@given(plans())
def test_every_descriptor_is_named_once_and_used(plan: VmPlan) -> None:
    argv = build(plan, CAPS)
    names = [need.name for need in argv.fds]
    assert len(names) == len(set(names))
    assert argv.fd_names() == set(names)
    numbers = {name: 100 + position for position, name in enumerate(names)}
    assert not any("@fd:" in word for word in argv.words(numbers))


@given(plans())
def test_every_name_is_given_once_and_before_it_is_used(plan: VmPlan) -> None:
    known: set[object] = set()
    for properties in json_values(build(plan, CAPS)):
        for reference in ("file", "backing", "drive", "netdev", "iothread", "rng", "prealloc-context"):
            if properties.get(reference) is not None:
                assert properties[reference] in known
        name = properties.get("node-name", properties.get("id"))
        assert name not in known
        known.add(name)


@given(plans())
def test_no_two_devices_share_a_pci_slot(plan: VmPlan) -> None:
    addresses = [properties["addr"] for properties in json_values(build(plan, CAPS)) if "addr" in properties]
    assert len(addresses) == len(set(addresses)) == len(plan.disks) + len(plan.nics) + 1


@given(plans())
def test_fd_set_numbers_are_distinct(plan: VmPlan) -> None:
    sets = [value.split(",set=")[1].split(",")[0] for value in values_of(build(plan, CAPS), "-add-fd")]
    assert len(sets) == len(set(sets))


@given(plans())
def test_each_option_names_a_key_or_a_rule(plan: VmPlan) -> None:
    for option in build(plan, CAPS).options:
        assert option.why.startswith(("[", "rule: ", "the file's name")), option


def test_the_same_plan_gives_the_same_command_line() -> None:
    assert build(rich_plan(), CAPS) == build(rich_plan(), CAPS)


def test_what_every_vm_gets() -> None:
    words = build(vm_plan(), CAPS).words()
    assert words[:5] == ("qemu-system-x86_64", "-name", "guest=vm,debug-threads=on", "-uuid", vm_plan().uuid)
    for flag in ("-S", "-nodefaults", "-no-user-config"):
        assert words.count(flag) == 1
    text = " ".join(words)
    assert "-display none" in text
    assert "-action shutdown=pause,panic=pause,reboot=reset" in text
    assert "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny" in text


def test_text_of_the_operator_is_passed_as_it_is() -> None:
    plan = vm_plan(name="a,b", boot=BootPlan(kernel="/srv/k", cmdline="x=1,2 @fd:qmp@ @fd:none@"))
    argv = build(plan, CAPS)
    words = argv.words(dict.fromkeys(argv.fd_names(), 9))
    assert "guest=a,,b,debug-threads=on" in words
    assert words[words.index("-append") + 1] == "x=1,2 @fd:qmp@ @fd:none@"


def test_a_descriptor_without_a_number_is_an_error() -> None:
    with pytest.raises(KeyError):
        build(vm_plan(), CAPS).words({"qmp": 3})


@pytest.mark.parametrize(
    ("absent", "gone"),
    [("pvpanic", "pvpanic"), ("rng-builtin", "virtio-rng-pci"), ("virtio-rng-pci", "rng-builtin"), ("kvm-pit", "kvm-pit")],
)
def test_a_convenience_that_the_binary_lacks_is_left_out(absent: str, gone: str) -> None:
    assert gone in " ".join(build(vm_plan(), CAPS).words())
    caps: QemuCaps = evolve(CAPS, object_types=CAPS.object_types - {absent})
    assert gone not in " ".join(build(vm_plan(), caps).words())


def test_the_pit_is_told_nothing_under_tcg() -> None:
    assert "kvm-pit" not in " ".join(build(vm_plan(accel="tcg"), CAPS).words())


@pytest.mark.parametrize(
    ("machine", "bus", "controller"), [("pc-q35-7.2", "pcie.0", "ICH9-LPC"), ("pc-i440fx-7.2", "pci.0", "PIIX4_PM")]
)
def test_bus_and_power_controller_follow_the_board(machine: str, bus: str, controller: str) -> None:
    argv = build(vm_plan(machine=machine, disks=(disk(),)), CAPS)
    devices = [json.loads(value) for value in values_of(argv, "-device")]
    assert {device["bus"] for device in devices if "bus" in device} == {bus}
    assert f"{controller}.disable_s3=1" in values_of(argv, "-global")
