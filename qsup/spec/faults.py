"""What is found wrong while a document is read, before it is known where in the text it stands."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from attrs import frozen

KeyPath = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)


class Faulty(Enum):
    """The one value that stands for "could not be read, and that has been reported"."""

    FAULTY = "faulty"


FAULTY: Final = Faulty.FAULTY


@frozen
class Fault:
    """One thing wrong. `on_key` asks for the place of the key itself instead of its value's."""

    path: KeyPath
    code: str
    message: str
    hint: str | None
    on_key: bool


@frozen
class Place:
    """A key of the document while it is read, and the list into which its faults go."""

    path: KeyPath
    faults: list[Fault]

    def at(self, *parts: str | int) -> Place:
        """The place of a key below this one."""
        return Place((*self.path, *parts), self.faults)

    def report(self, code: str, message: str, hint: str | None = None, *, on_key: bool = False) -> Faulty:
        """Notes a fault of this place; the code is given without its `spec.`. Returns FAULTY, for `return place.report(…)`."""
        self.faults.append(Fault(self.path, f"spec.{code}", message, hint, on_key))
        return FAULTY

    def __str__(self) -> str:
        return path_text(self.path)

    def for_example(self, example: str, verb: str = "write") -> str:
        """A hint that shows this key with a value that is accepted."""
        name = self.path[-1] if self.path else 0
        pair = example if isinstance(name, int) else f"{key_text(name)} = {example}"
        return f"{verb} {pair}, for example"


def path_text(path: KeyPath) -> str:
    """A key path as shown to a person: `cpu.vcpus`, `disk[1].path` (positions count from 0)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + key_text(part)
    return text


def key_text(key: str) -> str:
    """A key as it is written in TOML, quoted where it must be, and cut short when it is very long."""
    return key if _BARE.fullmatch(key) else quoted(key)


def quoted(text: str, longest: int = 60) -> str:
    """The text as a TOML basic string; control characters are escaped; beyond `longest` characters it ends in "…"."""
    cut = text if len(text) <= longest else text[:longest] + "…"
    return f'"{"".join(_ESCAPES.get(char) or _shown_char(char) for char in cut)}"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def _shown_char(char: str) -> str:
    # What is not printable could move the cursor or reverse the text of a terminal.
    if char == " " or char.isprintable():
        return char
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"


def shown(value: object, depth: int = 2) -> str:
    """A value of a document as a person wrote it in TOML, short enough for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict | list):
        return _shown_group(value, depth)
    return str(value)


def _shown_group(value: dict[str, object] | list[object], depth: int) -> str:
    if isinstance(value, dict):
        parts = [key_text(key) + " = " + shown(item, depth - 1) for key, item in list(value.items())[:4]] if depth else []
    else:
        parts = [shown(item, depth - 1) for item in value[:4]] if depth else []
    if len(value) > len(parts):
        parts.append("…")
    inside = ", ".join(parts)
    if isinstance(value, list):
        return f"[{inside}]"
    return f"{{ {inside} }}" if parts else "{}"


def kind_of(value: object) -> str:
    """What a value of a document is, in words ("a string")."""
    return _KINDS.get(type(value).__name__, "a date or time")


_KINDS = {
    "bool": "a boolean",
    "int": "a whole number",
    "float": "a decimal number",
    "str": "a string",
    "list": "a list",
    "dict": "a table",
}
