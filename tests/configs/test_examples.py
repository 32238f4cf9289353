"""The examples in configs/ are what they say: valid, different, and the settings complete."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from qsup.spec.parse import name_of_file, parse_vm
from qsup.spec.schema import keys_of
from qsup.spec.settings import SettingsSpec, parse_settings
from qsup.spec.vmspec import VmSpec

CONFIGS = Path(__file__).parents[2] / "configs"
SETTINGS = CONFIGS / "settings.toml"
VM_FILES = sorted(path for path in CONFIGS.glob("*.toml") if path != SETTINGS)


def spec_of(path: Path) -> VmSpec:
    return parse_vm(path.read_text(), file=path.name, name=name_of_file(path.name))


def test_every_kind_has_its_example() -> None:
    names = {path.stem for path in VM_FILES}
    assert names == {"minimal", "dedicated-hugepages", "two-nodes", "multiqueue", "uefi", "direct-kernel"}


@pytest.mark.parametrize("path", VM_FILES, ids=lambda path: path.stem)
def test_example_is_a_valid_vm(path: Path) -> None:
    assert spec_of(path).name == path.stem


@pytest.mark.parametrize("path", VM_FILES, ids=lambda path: path.stem)
def test_example_opens_with_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_examples_show_what_they_are_named_for() -> None:
    specs = {path.stem: spec_of(path) for path in VM_FILES}
    assert specs["dedicated-hugepages"].cpu.placement == "dedicated"
    assert specs["dedicated-hugepages"].memory.hugepages_bytes == 2 << 20
    assert [node.host_nodes for node in specs["two-nodes"].memory.nodes or ()] == [frozenset({0}), frozenset({1})]
    assert (specs["multiqueue"].nics[0].queues, specs["multiqueue"].nics[0].vhost) == (4, True)
    assert specs["uefi"].boot.uefi
    assert specs["direct-kernel"].boot.kernel


def test_settings_are_exactly_the_defaults() -> None:
    assert parse_settings(SETTINGS.read_text(), file=SETTINGS.name) == SettingsSpec()


def test_settings_name_every_key_and_no_other() -> None:
    document = tomli.loads(SETTINGS.read_text())
    written = {(section, key) for section, table in document.items() for key in table}
    assert written == {(field.key.section, field.toml) for field in keys_of(SettingsSpec)}
