"""What a VM file's news does to a VM that failed: a new version is a new chance, one that is known from its launch is none."""

from __future__ import annotations

import pytest

from qsup.spec.parse import parse_vm
from qsup.supervisor.confdir import ConfigFile
from qsup.supervisor.config_side import take_config
from qsup.supervisor.events import EventLog
from qsup.supervisor.vm_state import VmState

PATH = "/etc/qsup/vms.d/vm.toml"
TEXT = '[vm]\nrestart = "never"\n[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n'
GIVEN_UP = 'it failed, and its restart policy is "never"'


def taken_over() -> VmState:
    """A VM that the daemon has from its launch record, and that failed before any file was read."""
    vm = VmState("vm")
    vm.config.file, vm.config.text, vm.config.spec = PATH, TEXT, parse_vm(TEXT, file=PATH, name="vm")
    vm.past.given_up = GIVEN_UP
    return vm


@pytest.mark.parametrize(
    ("text", "given_up", "told"),
    [(TEXT, GIVEN_UP, []), (TEXT.replace("64", "65"), "", ["config.changed"]), ("[vm", GIVEN_UP, ["spec.syntax"])],
)
def test_the_first_reading_after_it_was_taken_over(text: str, given_up: str, told: list[str]) -> None:
    vm, events = taken_over(), EventLog(sinks=())
    take_config(events, vm, ConfigFile("vm", PATH, text))
    assert vm.past.given_up == given_up
    assert [event.code for event in events.history()] == told


def test_a_file_that_is_written_again_is_a_new_chance() -> None:
    vm, events = taken_over(), EventLog(sinks=())
    take_config(events, vm, ConfigFile("vm", PATH, TEXT))
    take_config(events, vm, ConfigFile("vm", PATH, TEXT))
    assert (vm.past.given_up, vm.config.state) == ("", "valid")
