"""docs/config.md says what the schema says, about every key; the schema says enough."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tomli
from attrs import NOTHING

from qsup.spec.faults import Place
from qsup.spec.schema import KeyField, keys_of
from qsup.spec.settings import SettingsSpec
from qsup.spec.vmspec import VmSpec
from tests.spec.config_page import PAGE, config_page


def every_key() -> Iterator[tuple[str, KeyField]]:
    """Each key of the VM's and the settings file, sections left out."""
    pending = [("", field) for field in keys_of(VmSpec)]
    while pending:
        prefix, field = pending.pop(0)
        if field.key.reader.table is not None:
            pending.extend((f"{prefix}{field.toml}.", inner) for inner in keys_of(field.key.reader.table))
        if prefix:
            yield f"{prefix}{field.toml}", field
    for field in keys_of(SettingsSpec):
        yield f"{field.key.section}.{field.toml}", field


KEYS = list(every_key())


def test_page_is_in_step_with_the_schema(regenerate: bool) -> None:
    if regenerate:
        PAGE.write_text(config_page())
    assert PAGE.read_text() == config_page(), "run: pytest tests/spec --regenerate"


@pytest.mark.parametrize(("name", "field"), KEYS, ids=[name for name, _ in KEYS])
def test_key_is_documented(name: str, field: KeyField) -> None:
    assert field.key.doc.endswith("."), "the documentation is a sentence"
    assert field.key.reason
    assert f"| `{field.toml}` |" in config_page()
    if field.default is None:
        assert field.key.absent, "says what holds when the key is absent"


@pytest.mark.parametrize(("name", "field"), KEYS, ids=[name for name, _ in KEYS])
def test_default_is_a_value_that_could_be_written(name: str, field: KeyField) -> None:
    if field.default in (NOTHING, None):
        return
    place = Place((field.toml,), [])
    assert field.key.reader.read(_toml_value(field.key.reader.format(field.default)), place) == field.default
    assert place.faults == []


@pytest.mark.parametrize(("name", "field"), KEYS, ids=[name for name, _ in KEYS])
def test_example_is_accepted(name: str, field: KeyField) -> None:
    place = Place((field.toml,), [])
    field.key.reader.read(_toml_value(field.key.reader.example), place)
    assert place.faults == []


def _toml_value(text: str) -> object:
    return tomli.loads(f"value = {text}")["value"]
