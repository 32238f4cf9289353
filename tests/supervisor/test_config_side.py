"""What a VM file's news does to a VM that failed: a new version is a new chance, one that is known from its launch is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.spec.parse import parse_vm
from qsup.supervisor.confdir import ConfigFile
from qsup.supervisor.config_side import take_config
from qsup.supervisor.events import EventLog
from qsup.supervisor.notes import keep_power
from qsup.supervisor.power_memory import recall_order
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


async def test_the_next_daemon_leaves_it_down_until_its_file_is_another_one_or_somebody_starts_it(tmp_path: Path) -> None:
    def next_daemon(text: str) -> VmState:
        vm = VmState("vm")
        take_config(EventLog(sinks=()), vm, ConfigFile("vm", PATH, text))
        recall_order(str(tmp_path), vm, is_new=True)
        return vm

    assert (next_daemon(TEXT).power.wanted, next_daemon(TEXT).past.given_up) == ("on", ""), "nothing is written down yet"
    vm = taken_over()
    vm.power.wanted = "paused"
    await keep_power(str(tmp_path), vm)
    assert (next_daemon(TEXT).power.wanted, next_daemon(TEXT).past.given_up) == ("paused", GIVEN_UP)
    assert next_daemon(TEXT + "# mended\n").past.given_up == ""
    vm.past.fresh_chance()
    await keep_power(str(tmp_path), vm)
    assert next_daemon(TEXT).past.given_up == ""
