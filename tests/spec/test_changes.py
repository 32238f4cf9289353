"""Differences between two files of one VM."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from qsup.spec.changes import Change, changes_of
from qsup.spec.parse import parse_vm
from qsup.spec.schema import keys_of
from qsup.spec.vmspec import VmSpec
from tests.spec.generated import vm_specs

BASE = '[cpu]\nvcpus = 4\n[memory]\nsize = "8GiB"\n'
FIRST = '[[disk]]\npath = "/srv/vm/a.qcow2"\n'
SECOND = '[[disk]]\npath = "/srv/vm/b.qcow2"\n'
OLD = BASE + FIRST + SECOND + '[[nic]]\nbridge = "br0"\n'


def changes(old: str, new: str) -> list[tuple[str, str, str, str]]:
    found = changes_of(parse_vm(old, file="old", name="vm"), parse_vm(new, file="new", name="vm"))
    assert all(change.reason for change in found)
    return [(change.key, change.old, change.new, change.effect) for change in found]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("vcpus = 4", "vcpus = 8", [("cpu.vcpus", "4", "8", "cold-restart")]),
        ("vcpus = 4", "vcpus = 4\nsockets = 1", [("cpu.sockets", "absent", "1", "cold-restart")]),
        ("vcpus = 4", 'vcpus = 4\nemulator = "0,2-4"', [("cpu.emulator", "absent", '"0,2-4"', "cold-restart")]),
        ('"8GiB"', '"1536MiB"', [("memory.size", '"8GiB"', '"1536MiB"', "cold-restart")]),
        ('"8GiB"', '"8192MiB"', []),
        ("[memory]", "[vm]\ngrace_period_s = 5\n[memory]", [("vm.grace_period_s", "60", "5", "none")]),
        ('"br0"', '"br1"', [("nic[0].bridge", '"br0"', '"br1"', "cold-restart")]),
        ("[[nic]]", "readonly = true\n[[nic]]", [("disk[1].readonly", "false", "true", "cold-restart")]),
        (SECOND, "", [("disk[1]", '{ path = "/srv/vm/b.qcow2", ', "absent", "cold-restart")]),
        (FIRST, "", [("disk[0]", '{ path = "/srv/vm/a.qcow2", ', "absent", "cold-restart")]),
        (FIRST, SECOND.replace("b.q", "c.q"), [("disk[0].path", '"/srv/vm/a.qcow2"', '"/srv/vm/c.qcow2"', "cold-restart")]),
        (FIRST + SECOND, SECOND + FIRST, [("disk", "order 1, 0", "order 0, 1", "cold-restart")]),
        (
            FIRST + SECOND,
            SECOND + FIRST + "readonly = true\n" + FIRST.replace("a.q", "c.q"),
            [
                ("disk[1].readonly", "false", "true", "cold-restart"),
                ("disk", "order 1, 0", "order 0, 1", "cold-restart"),
                ("disk[2]", "absent", '{ path = "/srv/vm/c.qcow2", ', "cold-restart"),
            ],
        ),
    ],
)
def test_change(old: str, new: str, expected: list[tuple[str, str, str, str]]) -> None:
    assert old in OLD
    found = changes(OLD, OLD.replace(old, new))
    assert len(found) == len(expected)
    for actual, wanted in zip(found, expected, strict=True):
        assert (actual[0], actual[3]) == (wanted[0], wanted[3])
        assert actual[1].startswith(wanted[1])
        assert actual[2].startswith(wanted[2])


def test_nics_keep_their_identity_by_their_mac() -> None:
    first = '[[nic]]\nbridge = "br0"\nmac = "52:54:00:00:00:01"\n'
    second = '[[nic]]\nbridge = "br1"\nmac = "52:54:00:00:00:02"\n'
    (change,) = changes(BASE + first + second, BASE + second)
    assert change[0] == "nic[0]"
    assert change[1].startswith('{ bridge = "br0", mac = "52:54:00:00:00:01"')
    assert change[2] == "absent"


@given(vm_specs(), vm_specs())
@settings(max_examples=150)
def test_no_change_means_the_same_spec(old: VmSpec, new: VmSpec) -> None:
    assert changes_of(old, old) == ()
    found = changes_of(old, new)
    assert bool(found) == any(getattr(old, field.name) != getattr(new, field.name) for field in keys_of(VmSpec))
    assert {(change.key, change.old, change.new) for change in changes_of(new, old) if "disk" not in change.key} >= {
        (change.key, change.new, change.old) for change in found if change.key.startswith(("cpu", "memory", "vm", "boot"))
    }


@given(vm_specs(), vm_specs())
@settings(max_examples=150)
def test_change_says_something(old: VmSpec, new: VmSpec) -> None:
    for change in changes_of(old, new):
        assert isinstance(change, Change)
        assert change.old != change.new
        assert "\n" not in change.old + change.new
