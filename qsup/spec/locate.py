"""Where in a TOML text each key and each value stands. Run for a faulty document only: no TOML parser tells positions.

Strategy: one walk over a text that tomli has accepted, so that nothing is checked again; the walk only has to know where
strings, comments and brackets end. `where` is always the path of the table in force. Tables inside arrays of tables are
counted like tomli does: the header [[disk]] opens the next one, [disk.x] and keys below it mean the latest one.
"""

from __future__ import annotations

import re

from attrs import Factory, define, frozen

from qsup.spec.faults import KeyPath

DEEPEST = 16

_BLANK = re.compile(r"[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([\s\S]))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


@frozen
class Locations:
    """Offsets in the text, by key path."""

    keys: dict[KeyPath, int]
    values: dict[KeyPath, int]

    def of_key(self, path: KeyPath) -> int:
        """Where a key or a table's header is written; for what is not in the text, where its table is."""
        while path and path not in self.keys:
            if path in self.values:
                return self.values[path]
            path = path[:-1]
        return self.keys.get(path, 0)

    def of_value(self, path: KeyPath) -> int:
        """Where a value is written; for a table with a header, and for what is not in the text, as of_key."""
        return self.values[path] if path in self.values else self.of_key(path)


def locations_of(text: str) -> Locations:
    """The places of all keys and values of a text that tomli accepts; to a depth of DEEPEST inside of values."""
    walk = _Walk(text)
    walk.document()
    return Locations(walk.keys, walk.values)


@define
class _Walk:
    text: str
    at: int = 0
    where: KeyPath = ()
    keys: dict[KeyPath, int] = Factory(dict)
    values: dict[KeyPath, int] = Factory(dict)
    latest: dict[KeyPath, int] = Factory(dict)

    def document(self) -> None:
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                self.header()
            else:
                self.pair(self.where, 0)
            self.skip(_BLANK)

    def header(self) -> None:
        is_entry = self.text.startswith("[[", self.at)
        self.at += 2 if is_entry else 1
        parts = self.key_parts()
        self.at += 2 if is_entry else 1
        path: KeyPath = ()
        for name, offset in parts[:-1]:
            path = self.into_latest((*path, name))
            self.keys.setdefault(path, offset)
        name, offset = parts[-1]
        path = (*path, name)
        if is_entry:
            self.latest[path] = self.latest.get(path, -1) + 1
            self.keys.setdefault(path, offset)
            path = self.into_latest(path)
        self.keys[path] = offset
        self.where = path

    def into_latest(self, path: KeyPath) -> KeyPath:
        return (*path, self.latest[path]) if path in self.latest else path

    def pair(self, table: KeyPath, depth: int) -> None:
        path = table
        for name, offset in self.key_parts():
            path = (*path, name)
            if depth <= DEEPEST:
                self.keys.setdefault(path, offset)
        self.at += 1  # "="
        self.skip(_SPACE)
        self.value(path, depth)

    def key_parts(self) -> list[tuple[str, int]]:
        """The parts of a dotted key with their offsets; ends at the character after it."""
        parts: list[tuple[str, int]] = []
        while True:
            self.skip(_SPACE)
            offset = self.at
            is_quoted = self.text[offset] in "\"'"
            written = self.skip(_STRING if is_quoted else _BARE_KEY)
            parts.append((_unquoted(written) if is_quoted else written, offset))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def value(self, path: KeyPath, depth: int) -> None:
        first = self.text[self.at]
        if depth <= DEEPEST:
            self.values[path] = self.at
        if first in "\"'":
            self.skip(_STRING)
        elif first not in "[{":
            self.skip(_BARE_VALUE)
        elif depth >= DEEPEST:
            self.group()
        elif first == "[":
            self.array(path, depth + 1)
        else:
            self.inline_table(path, depth + 1)

    def array(self, path: KeyPath, depth: int) -> None:
        index = 0
        while self.next_item("]"):
            self.value((*path, index), depth)
            index += 1

    def inline_table(self, path: KeyPath, depth: int) -> None:
        while self.next_item("}"):
            self.pair(path, depth)

    def next_item(self, closing: str) -> bool:
        """Steps over what opens or separates; False at the end of the group, which is stepped over too."""
        self.skip(_BLANK)
        if self.text[self.at] in "[{,":
            self.at += 1
            self.skip(_BLANK)
        if self.text[self.at] != closing:
            return True
        self.at += 1
        return False

    def group(self) -> None:
        """Steps over an array or inline table without looking into it, however deep."""
        open_groups = 0
        while True:
            char = self.text[self.at]
            if char in "\"'":
                self.skip(_STRING)
                continue
            if char == "#":
                self.skip(_BLANK)
                continue
            self.at += 1
            open_groups += (char in "[{") - (char in "]}")
            if not open_groups:
                return

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"tomli accepted a text that has no {pattern.pattern} at {self.at}"
        self.at = match.end()
        return match.group()


def _unquoted(written: str) -> str:
    inside = written[1:-1]
    return inside if written[0] == "'" else _ESCAPE.sub(_unescaped, inside)


def _unescaped(match: re.Match[str]) -> str:
    short, long, hexadecimal, char = match.groups()
    if char is not None:
        return _ESCAPED.get(char, char)
    return chr(int(short or long or hexadecimal, 16))
