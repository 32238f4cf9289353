"""The words in which a section declares its keys.

Strategy: a section is a frozen attrs class. Each field carries, as attrs metadata, a `Key` that says everything about it:
TOML name, reader, documentation, effect of a change and its reason. The default is the field's own. Nothing about a key
is written anywhere else in this room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar

from attrs import NOTHING, Attribute, Factory, fields, frozen

from qsup.spec.faults import Faulty, Place

Effect = Literal["live", "hotplug", "guest-reset", "cold-restart", "none"]

T = TypeVar("T")


@frozen
class Reader(Generic[T]):
    """How one kind of value is read and written.

    `accepts` says in words what is accepted, `example` is a value as TOML text. `parse` gives the value, or reports
    (naming the `accepts` that it is handed) and gives FAULTY. `format` is its inverse: the value as TOML text. `table` is
    the class of the tables inside, where the value is one or a list of them.
    """

    accepts: str
    example: str
    parse: Callable[[object, Place, str], T | Faulty]
    format: Callable[[Any], str]
    table: type | None = None

    def read(self, value: object, place: Place) -> T | Faulty:
        """The value of a key, or FAULTY after reporting."""
        return self.parse(value, place, self.accepts)


@frozen
class Derived:
    """A value that follows from another field when its key is absent: `of(value of that field, place)`."""

    source: str
    of: Callable[[Any, Place], Any]


@frozen
class Key:
    """All that is to know about one key.

    `toml` "" means: named as the field. `absent` says in words what holds when the key is absent, where the default alone
    does not say it. `section` is the table in which the key stands when its class is flat. `identity` names the field by
    which the entries of a list are the same before and after a change (None: their position).
    """

    reader: Reader[Any]
    doc: str
    effect: Effect
    reason: str
    toml: str = ""
    absent: str = ""
    derived: Derived | None = None
    section: str = ""
    identity: str | None = None


@frozen
class KeyField:
    """One field of a section: its Python name, its name in TOML, its key, its default (NOTHING: must be written)."""

    name: str
    toml: str
    key: Key
    default: Any

    @property
    def required(self) -> bool:
        """The key must be written: there is neither a default nor anything to derive it from."""
        return self.default is NOTHING and self.key.derived is None


def key(
    reader: Reader[Any],
    *,
    doc: str,
    effect: Effect,
    reason: str,
    toml: str = "",
    absent: str = "",
    derived: Derived | None = None,
    section: str = "",
    identity: str | None = None,
) -> Mapping[str, Key]:
    """The metadata of a section's field; see Key."""
    return {"key": Key(reader, doc, effect, reason, toml, absent, derived, section, identity)}


def keys_of(section: type) -> tuple[KeyField, ...]:
    """The fields of a section that stand in TOML, in the order of the class."""
    if section not in _KEYS:
        _KEYS[section] = tuple(_key_field(attribute) for attribute in fields(section) if "key" in attribute.metadata)
    return _KEYS[section]


_KEYS: dict[type, tuple[KeyField, ...]] = {}  # a class says the same each time


def _key_field(attribute: Attribute[Any]) -> KeyField:
    declared: Key = attribute.metadata["key"]
    default: Any = attribute.default
    if isinstance(default, Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
        default = default.factory()
    return KeyField(attribute.name, declared.toml or attribute.name, declared, default)


# Reasons that many keys share.
AT_START = "QEMU takes it when it starts, and never again"
GUEST_HARDWARE = "the guest sees it as hardware, which is fixed when QEMU starts"
PLACED_AT_START = "placement is decided once, before the start, and kept in the launch record"
BY_QSUP = "qsup alone uses it, when the occasion comes; the running guest is not concerned"
