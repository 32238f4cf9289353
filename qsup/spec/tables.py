"""How a table becomes a section: unknown, missing and faulty keys, then the section's own rules.

Strategy: everything is read, also after faults. A section that came out whole is an instance of its class. A faulty one
becomes a Draft: it gives its sound fields and ends the rule that asks for another, so that a rule never judges what was
not understood, and every rule whose keys are sound still speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from attrs import NOTHING, frozen

from qsup.spec.faults import FAULTY, Faulty, Place, key_text, kind_of, shown
from qsup.spec.readers import list_length
from qsup.spec.schema import KeyField, Reader, keys_of

T = TypeVar("T")
V = TypeVar("V")

MOST_LOOKED_UP = 200

Rule = Callable[[T, Place], None]


class _FaultyFieldRead(LookupError):
    """A rule asked for a field that could not be read; never leaves this file."""


@frozen
class Draft:
    """A section of which some fields are faulty."""

    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name not in self.values:
            raise _FaultyFieldRead(name)
        return self.values[name]


def sound(entries: Sequence[T], read: Callable[[T], V]) -> list[tuple[int, V]]:
    """What `read` gives for each entry of a list section, with its position; entries where it is faulty are left out."""
    results: list[tuple[int, V]] = []
    for index, entry in enumerate(entries):
        try:
            results.append((index, read(entry)))
        except _FaultyFieldRead:
            continue
    return results


def read_section(
    cls: type[T],
    table: Mapping[str, object],
    place: Place,
    rules: Sequence[Rule[T]] = (),
    given: Mapping[str, object] | None = None,
) -> T:
    """A section from its table.

    Args:
        given: fields that do not stand in the table, by name.

    Returns:
        An instance of `cls`; or, where faults were reported, possibly a Draft in its stead, good for rules only.
    """
    keys = keys_of(cls)
    report_unknown_keys(table, [field.toml for field in keys], place)
    return finish_section(cls, {**(given or {}), **read_keys(keys, table, place)}, place, rules)


def finish_section(cls: type[T], values: Mapping[str, Any], place: Place, rules: Sequence[Rule[T]]) -> T:
    """A section from its sound values, judged by its rules."""
    whole = all(field.name in values for field in keys_of(cls))
    section = cls(**values) if whole else cast(T, Draft(values))
    for rule in rules:
        try:
            rule(section, place)
        except _FaultyFieldRead:
            continue
    return section


def read_keys(keys: Sequence[KeyField], table: Mapping[str, object], place: Place) -> dict[str, Any]:
    """The sound values of a table, absent keys filled in, by field name."""
    values: dict[str, Any] = {}
    for field in keys:
        value = _read_key(field, table, values, place)
        if value is not FAULTY:
            values[field.name] = value
    return values


def _read_key(field: KeyField, table: Mapping[str, object], earlier: Mapping[str, Any], place: Place) -> Any:
    key = field.key
    if field.toml in table:
        return key.reader.read(table[field.toml], place.at(field.toml))
    if key.derived is not None:
        return key.derived.of(earlier[key.derived.source], place) if key.derived.source in earlier else FAULTY
    return _report_missing(field, place) if field.default is NOTHING else field.default


def _report_missing(field: KeyField, place: Place) -> Faulty:
    where = place.at(field.toml)
    if field.key.reader.table is not None:
        return place.report("missing-section", f"the section [{where}] is missing", _hint_for_missing(field), on_key=True)
    message = f"{where} is missing: it needs {field.key.reader.accepts}"
    return place.report("missing-key", message, where.for_example(field.key.reader.example, "add"), on_key=True)


def _hint_for_missing(field: KeyField) -> str:
    table = field.key.reader.table
    required = [inner for inner in keys_of(table) if inner.required] if table else []
    return f"add [{field.toml}] with {', '.join(f'{inner.toml} = {inner.key.reader.example}' for inner in required)}"


def _example(cls: type) -> str:
    required = [field for field in keys_of(cls) if field.required]
    return f"{{ {', '.join(f'{field.toml} = {field.key.reader.example}' for field in required)} }}"


def report_unknown_keys(table: Mapping[str, object], known: Sequence[str], place: Place) -> None:
    """Reports each key that is not among the known ones, with what was probably meant."""
    for name in table:
        if name not in known:
            what = "section" if isinstance(table[name], dict) and not place.path else "key"
            # Looking for what was meant costs 0.1 ms: not for a file that is something else altogether.
            hint = _hint_for_unknown(name, known) if len(place.faults) < MOST_LOOKED_UP else f"remove {key_text(name)}"
            place.at(name).report(f"unknown-{what}", f"{place.at(name)} is not a {what} of qsup", hint, on_key=True)


def _hint_for_unknown(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name.strip().lower().replace("-", "_")[:100], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def table_of(cls: type[T], rules: Sequence[Rule[T]] = ()) -> Reader[T]:
    """A section `[name]` of its own."""

    def parse(value: object, place: Place, accepts: str) -> T | Faulty:
        if isinstance(value, dict):
            return read_section(cls, value, place, rules)
        return _report_no_section(value, place)

    return Reader("a section", _example(cls), parse, toml_table, cls)


def _report_no_section(value: object, place: Place) -> Faulty:
    once = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
    hint = f"write [{place}] once, with single brackets" if once else f"write [{place}] and its keys below"
    message = f"{place} = {shown(value)} is {kind_of(value)}: accepted is one section [{place}]"
    return place.report("wrong-shape", message, hint, on_key=True)


def tables_of(cls: type[T], rules: Sequence[Rule[T]] = (), at_most: int = 64) -> Reader[tuple[T, ...]]:
    """Any number of sections `[[name]]`."""

    def parse(value: object, place: Place, accepts: str) -> tuple[T, ...] | Faulty:
        if isinstance(value, dict):
            message = f"[{place}] is one section: accepted is a list of sections, each with the header [[{place}]]"
            place.report("wrong-shape", message, f"write [[{place}]], with double brackets", on_key=True)
            _read_entry(cls, value, place, rules)
            return FAULTY
        if not isinstance(value, list):
            message = f"{place} = {shown(value)} is {kind_of(value)}: accepted are sections [[{place}]]"
            return place.report("wrong-shape", message, f"write [[{place}]] and its keys below", on_key=True)
        if len(value) > at_most:
            return list_length(len(value), f"sections [[{place}]]", at_most, place)
        return _read_entries(cls, value, place, rules)

    return Reader("sections", f"[{_example(cls)}]", parse, _toml_tables, cls)


def inline_tables(cls: type[T], rules: Sequence[Rule[T]], at_most: int) -> Reader[tuple[T, ...]]:
    """A list of 1 to `at_most` inline tables."""
    example = f"[{_example(cls)}]"

    def parse(value: object, place: Place, accepts: str) -> tuple[T, ...] | Faulty:
        if not isinstance(value, list):
            message = f"{place} = {shown(value)} is {kind_of(value)}: accepted is {accepts}"
            return place.report("wrong-type", message, place.for_example(example))
        if not 1 <= len(value) <= at_most:
            return list_length(len(value), accepts, at_most, place)
        return _read_entries(cls, value, place, rules)

    return Reader("a list of tables", example, parse, _toml_tables, cls)


def _read_entries(cls: type[T], entries: list[object], place: Place, rules: Sequence[Rule[T]]) -> tuple[T, ...]:
    return tuple(_read_entry(cls, entry, place.at(index), rules) for index, entry in enumerate(entries))


def _read_entry(cls: type[T], entry: object, place: Place, rules: Sequence[Rule[T]]) -> T:
    if isinstance(entry, dict):
        return read_section(cls, entry, place, rules)
    message = f"{place} = {shown(entry)} is {kind_of(entry)}: accepted is a table"
    place.report("wrong-shape", message, place.for_example(_example(cls)))
    return cast(T, Draft({}))


def read_flat_sections(cls: type[object], document: Mapping[str, object], place: Place) -> dict[str, Any]:
    """The sound values of a class whose keys stand in several sections of the document, all of them optional."""
    keys = keys_of(cls)
    names = tuple(dict.fromkeys(field.key.section for field in keys))
    report_unknown_keys(document, names, place)
    values: dict[str, Any] = {}
    for name in names:
        table = document.get(name, {})
        here = [field for field in keys if field.key.section == name]
        if isinstance(table, dict):
            report_unknown_keys(table, [field.toml for field in here], place.at(name))
            values.update(read_keys(here, table, place.at(name)))
        else:
            _report_no_section(table, place.at(name))
    return values


def toml_pairs(section: object) -> list[tuple[str, str]]:
    """The keys of a section that are not None, each with its value as TOML text."""
    pairs = []
    for field in keys_of(type(section)):
        value = getattr(section, field.name)
        if value is not None:
            pairs.append((field.toml, field.key.reader.format(value)))
    return pairs


def toml_table(section: object) -> str:
    """A section as a TOML inline table."""
    inside = ", ".join(f"{key_text(name)} = {value}" for name, value in toml_pairs(section))
    return f"{{ {inside} }}"


def _toml_tables(sections: Sequence[object]) -> str:
    return f"[{', '.join(toml_table(section) for section in sections)}]"
