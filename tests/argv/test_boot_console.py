"""[boot], [console] and the monitors on the command line."""

from __future__ import annotations

import json

from qsup.argv.build import build
from qsup.argv.option import FdNeed
from qsup.plan.vmplan import BootPlan
from tests.argv.plans import CAPS, values_of, vm_plan

LISTENING = {"qmp", "telemetry", "console"}


def test_a_bios_is_read_through_its_descriptor() -> None:
    argv = build(vm_plan(boot=BootPlan(bios="/srv/rom")), CAPS)
    assert values_of(argv, "-bios") == ["/proc/self/fd/@fd:bios@"]
    assert FdNeed("bios", "blob", "/srv/rom") in argv.fds


def test_a_kernel_with_its_initrd_and_words() -> None:
    argv = build(vm_plan(boot=BootPlan(kernel="/srv/k", initrd="/srv/i", cmdline="a=1")), CAPS)
    assert values_of(argv, "-kernel") == ["/proc/self/fd/@fd:kernel@"]
    assert values_of(argv, "-initrd") == ["/proc/self/fd/@fd:initrd@"]
    assert values_of(argv, "-append") == ["a=1"]
    assert {need.path for need in argv.fds if need.kind == "blob"} == {"/srv/k", "/srv/i"}


def test_uefi_code_is_shared_and_its_variables_are_the_vms() -> None:
    argv = build(vm_plan(boot=BootPlan(uefi_code="/srv/code", uefi_vars="/state/vars")), CAPS)
    nodes = {node["node-name"]: node for node in map(json.loads, values_of(argv, "-blockdev"))}
    assert nodes["uefi-code"]["read-only"] is True
    assert nodes["uefi-vars"]["read-only"] is False
    assert {"pflash0=uefi-code", "pflash1=uefi-vars"} <= set(values_of(argv, "-machine"))
    assert FdNeed("uefi-code", "image", "/srv/code") in argv.fds
    assert FdNeed("uefi-vars", "image", "/state/vars", readonly=False) in argv.fds


def test_the_console_listens_and_is_logged() -> None:
    plan = vm_plan()
    argv = build(plan, CAPS)
    assert "socket,id=console,fd=@fd:console@,server=on,wait=off,logfile=/dev/fdset/1,logappend=on" in values_of(
        argv, "-chardev"
    )
    assert values_of(argv, "-serial") == ["chardev:console"]
    assert FdNeed("serial-log", "log", plan.paths.serial_log, readonly=False) in argv.fds
    assert {need.name for need in argv.fds if need.kind == "listen"} == LISTENING


def test_without_a_serial_port_there_is_neither_socket_nor_log() -> None:
    argv = build(vm_plan(serial=False), CAPS)
    assert values_of(argv, "-serial") == []
    assert {need.name for need in argv.fds} == LISTENING - {"console"}


def test_two_monitors_on_sockets_of_their_own() -> None:
    plan = vm_plan(serial=False)
    argv = build(plan, CAPS)
    assert values_of(argv, "-mon") == ["chardev=qmp,mode=control", "chardev=telemetry,mode=control"]
    assert {need.path for need in argv.fds} == {plan.paths.qmp_socket, plan.paths.telemetry_socket}
