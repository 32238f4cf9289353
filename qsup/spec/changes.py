"""What differs between two specs of one VM, and what each difference takes to come into force.

Strategy: the fields' own metadata say everything; no key is named here. The entries of a list section ([[disk]], [[nic]])
are paired first by their identity (the image's path, the MAC), then by their order; what is left was added or removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from qsup.spec.schema import Effect, Key, KeyField, keys_of
from qsup.spec.tables import toml_table
from qsup.spec.vmspec import VmSpec

__all__ = ["Change", "Effect", "changes_of"]

ABSENT = "absent"


@frozen
class Change:
    """One changed key, values rendered as in TOML ("absent" where there is none), its effect class and the reason for it."""

    key: str
    old: str
    new: str
    effect: Effect
    reason: str


def changes_of(old: VmSpec, new: VmSpec) -> tuple[Change, ...]:
    """Every key that differs, in the order of docs/config.md; empty when both ask the same.

    Positions in a key ("disk[1].cache") are those of the new file, of the old one for a removed entry.
    """
    changes: list[Change] = []
    for field in keys_of(VmSpec):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(before, tuple):
            changes.extend(_list_changes(field, before, after))
        else:
            changes.extend(_section_changes(field.toml, before, after))
    return tuple(changes)


def _section_changes(prefix: str, before: object, after: object) -> Iterator[Change]:
    for field in keys_of(type(after)):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            yield _change(f"{prefix}.{field.toml}", _rendered(field, old), _rendered(field, new), field.key)


def _rendered(field: KeyField, value: object) -> str:
    return ABSENT if value is None else field.key.reader.format(value)


def _change(key: str, old: str, new: str, declared: Key) -> Change:
    return Change(key, old, new, declared.effect, declared.reason)


def _list_changes(field: KeyField, before: Sequence[object], after: Sequence[object]) -> Iterator[Change]:
    pairs = _pairs(field.key.identity, before, after)
    for old_index, new_index in pairs:
        yield from _section_changes(f"{field.toml}[{new_index}]", before[old_index], after[new_index])
    if [new_index for _, new_index in pairs] != sorted(new_index for _, new_index in pairs):
        yield _change(field.toml, *_orders(pairs), field.key)
    paired_before, paired_after = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    for index, entry in enumerate(before):
        if index not in paired_before:
            yield _change(f"{field.toml}[{index}]", toml_table(entry), ABSENT, field.key)
    for index, entry in enumerate(after):
        if index not in paired_after:
            yield _change(f"{field.toml}[{index}]", ABSENT, toml_table(entry), field.key)


def _pairs(identity: str | None, before: Sequence[object], after: Sequence[object]) -> list[tuple[int, int]]:
    """Positions (old, new) of entries that are the same one, ascending by the old position."""
    index_of = {_identity(entry, identity): index for index, entry in enumerate(after)}
    new_indexes = [index_of.get(_identity(entry, identity)) for entry in before]
    pairs = [(old, new) for old, new in enumerate(new_indexes) if new is not None]
    rest_before = sorted(set(range(len(before))) - {old for old, _ in pairs})
    rest_after = sorted(set(range(len(after))) - {new for _, new in pairs})
    return sorted(pairs + list(zip(rest_before, rest_after, strict=False)))


def _identity(entry: Any, identity: str | None) -> object:
    """What identifies an entry; one without identity equals no other."""
    value = getattr(entry, identity) if identity else None
    return object() if value is None else value


def _orders(pairs: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """The old and the new order of the paired entries, both told by their new positions."""
    old = [new_index for _, new_index in pairs]
    return f"order {', '.join(map(str, old))}", f"order {', '.join(map(str, sorted(old)))}"
