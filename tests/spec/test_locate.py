"""The locator agrees with tomli: what it finds at a path is what tomli reads there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.spec.faults import KeyPath, quoted
from qsup.spec.locate import Locations, locations_of

KEYS = st.sampled_from(["a", "b", "c-1", "_", "42", "a.b", "", "ü", 'q"', "s'p ace", "new\nline", "#", "=", "]", "é\u0301"])
BLANKS = st.sampled_from(["", " ", "\t", "  "])
NOISE = st.sampled_from(["", "\n", "# [a] = {\n", "\r\n", "  # it's \"\n\n", "\t\n"])
TRICKY = st.sampled_from(
    [
        '"x = [1]"',
        "'''it's\n[a]\n''x''''",
        '"""a "quoted" \\""" [b]\n# no comment\n"""',
        '"""\\\n   """',
        '""""two quotes at the end"""""',
        "'\\'",
        '"\\\\"',
        "1979-05-27 07:32:00",
        "07:32:00",
        "-1e5",
        "true",
        "inf",
    ]
)


def written_key(draw: st.DrawFn, key: str) -> str:
    """One of the ways to write a key."""
    ways = [quoted(key)]
    if key and key.isascii() and key.replace("-", "").replace("_", "").isalnum():
        ways.append(key)
    if "'" not in key and "\n" not in key:
        ways.append(f"'{key}'")
    return draw(BLANKS) + draw(st.sampled_from(ways)) + draw(BLANKS)


class Writer:
    """Writes random documents in which every plain value is a different number."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 1000

    def value(self, depth: int) -> str:
        kind = self.draw(st.integers(0, 5 if depth else 2))
        if kind <= 1:
            self.count += 1
            return str(self.count)
        if kind == 2:
            return self.draw(TRICKY)
        items = self.draw(st.integers(0, 3))
        if kind <= 4:
            return self.group("[", [self.value(depth - 1) for _ in range(items)], "]")
        return self.group("{", self.pairs(depth - 1, items), "}")

    def group(self, opening: str, items: list[str], closing: str) -> str:
        inside = ",".join(self.draw(NOISE) + self.draw(BLANKS) + item + self.draw(NOISE) for item in items)
        comma = self.draw(st.sampled_from(["", ","])) if items else ""
        return opening + inside + comma + self.draw(NOISE) + closing

    def pairs(self, depth: int, count: int) -> list[str]:
        return [f"{self.dotted()}={self.draw(BLANKS)}{self.value(depth)}" for _ in range(count)]

    def dotted(self) -> str:
        return ".".join(written_key(self.draw, key) for key in self.draw(st.lists(KEYS, min_size=1, max_size=3)))

    def document(self) -> str:
        text = self.draw(NOISE) + self.block()
        for _ in range(self.draw(st.integers(0, 5))):
            opening, closing = self.draw(st.sampled_from([("[", "]"), ("[[", "]]")]))
            comment = self.draw(st.sampled_from(["", " # [x]"]))
            text += f"{self.draw(BLANKS)}{opening}{self.dotted()}{closing}{comment}\n" + self.block()
        return text

    def block(self) -> str:
        return "".join(f"{pair}{self.draw(BLANKS)}\n{self.draw(NOISE)}" for pair in self.pairs(3, self.draw(st.integers(0, 3))))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A text that tomli accepts, and what it reads in it."""
    text = Writer(draw).document()
    try:
        return text, tomli.loads(text)
    except tomli.TOMLDecodeError:
        # A key came twice: leave out lines from the end until it is a document.
        lines = text.split("\n")
        for last in range(len(lines), 0, -1):
            shorter = "\n".join(lines[:last]) + "\n"
            try:
                return shorter, tomli.loads(shorter)
            except tomli.TOMLDecodeError:
                continue
        return "", {}


def paths_of(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Every path of a document with what stands there."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for name, item in items:
        yield (*path, name), item
        yield from paths_of(item, (*path, name))


def assert_key_stands_at(text: str, offset: int, key: str) -> None:
    """The text at the offset begins with one of the ways to write the key, followed by what can follow a key."""
    rest = text[offset:]
    if rest[0] not in "\"'":
        assert rest.startswith(key)
        assert rest[len(key)] in " \t.=]"
        return
    lexeme_end = next(end for end in range(2, len(rest) + 1) if _is_key(rest[:end]))
    assert tomli.loads(f"{rest[:lexeme_end]} = 1") == {key: 1}


def _is_key(text: str) -> bool:
    try:
        return bool(tomli.loads(f"{text} = 1"))
    except tomli.TOMLDecodeError:
        return False


def assert_value_stands_at(text: str, offset: int, value: object) -> None:
    rest = text[offset:]
    for end in range(1, len(rest) + 1):
        if end < len(rest) and rest[end] not in ",]} \t\n\r#":
            continue
        try:
            read = tomli.loads(f"x = {rest[:end]}")["x"]
        except tomli.TOMLDecodeError:
            continue
        if read == value or repr(read) == repr(value):
            return
    raise AssertionError(f"{value!r} does not stand at {rest[:40]!r}")


@given(documents())
@settings(max_examples=600)
def test_every_path_is_found_where_it_stands(document: tuple[str, dict[str, object]]) -> None:
    text, read = document
    places = locations_of(text)
    for path, value in paths_of(read):
        if isinstance(path[-1], str):
            assert path in places.keys
            assert_key_stands_at(text, places.keys[path], path[-1])
        if path in places.values:
            assert_value_stands_at(text, places.values[path], value)
        else:
            assert_is_made_of_headers_or_dotted_keys(path, value, places)


def assert_is_made_of_headers_or_dotted_keys(path: KeyPath, value: object, places: Locations) -> None:
    assert isinstance(value, dict | list), f"{path} has a value of its own"
    assert path in places.keys


@given(documents())
@settings(max_examples=200)
def test_nothing_else_is_found(document: tuple[str, dict[str, object]]) -> None:
    text, read = document
    places = locations_of(text)
    assert set(places.keys) | set(places.values) == {path for path, _ in paths_of(read)}


EXAMPLE = """\
# a comment with [cpu] and path = 1
cpu = { vcpus = 4, "pin" = [ "2", # two
  "3" ] }
memory . "size" = '8GiB'

[[disk]]
path = '''
[[disk]]'''
[[disk]] # the second
  path = "x"
[disk.x.y]
z = 1
[[disk]]
"""


@pytest.mark.parametrize(
    ("path", "line_start"),
    [
        (("cpu",), '{ vcpus = 4, "pin"'),
        (("cpu", "vcpus"), "4, "),
        (("cpu", "pin"), '[ "2"'),
        (("cpu", "pin", 1), '"3" ]'),
        (("memory",), 'memory . "size"'),
        (("memory", "size"), "'8GiB'"),
        (("disk", 0, "path"), "'''\n[[disk]]'''"),
        (("disk", 1), "disk]] # the second"),
        (("disk", 1, "path"), '"x"'),
        (("disk", 1, "x"), "x.y]"),
        (("disk", 1, "x", "y"), "y]"),
        (("disk", 1, "x", "y", "z"), "1\n"),
        (("disk", 1, "serial"), "disk]] # the second"),
        (("disk", 2), "disk]]\n"),
        (("nic", 0, "mac"), "# a comment"),
    ],
)
def test_example_is_found(path: KeyPath, line_start: str) -> None:
    assert EXAMPLE[locations_of(EXAMPLE).of_value(path) :].startswith(line_start)


def test_deep_values_are_skipped_as_a_whole() -> None:
    deep = "[" * 100 + "'[#', # ]\n\"]\"" + "]" * 100
    text = f"a = {deep}\nb = 1\n"
    assert tomli.loads(text)["b"] == 1
    places = locations_of(text)
    assert text[places.values[("b",)] :] == "1\n"
    assert places.of_value(("a", *([0] * 50))) <= 4 + 17
