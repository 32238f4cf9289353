"""Readers of TOML's own kinds of values: numbers, booleans, words, lists.

Strategy: a reader never converts: 4 is not "4", true is not 1. What it refuses it reports with the value as written and
with what is accepted. The one widening is a whole number where a decimal one is accepted.
"""

from __future__ import annotations

from difflib import get_close_matches
from math import isfinite
from typing import Any, TypeVar, get_args

from qsup.bytesize import TIB, format_byte_size, parse_byte_size
from qsup.spec.faults import Faulty, Place, kind_of, quoted, shown
from qsup.spec.schema import Reader

T = TypeVar("T")

LONGEST_STRING = 4096


def wrong_type(value: object, accepts: str, place: Place, example: str, *, quotes: bool = False) -> Faulty:
    """Reports a value of the wrong kind; `quotes`: it would be right without its quotes."""
    hint = "remove the quotes" if quotes else place.for_example(example)
    return place.report("wrong-type", f"{place} = {shown(value)} is {kind_of(value)}: accepted is {accepts}", hint)


def is_quoted_number(value: object) -> bool:
    """Whether the value is a string that holds nothing but a whole number."""
    return isinstance(value, str) and value.isascii() and value.strip().isdigit()


def out_of_range(value: object, accepts: str, place: Place, bound: str) -> Faulty:
    """Reports a value of the right kind that is too small or too large; `bound` is the accepted value next to it."""
    return place.report("out-of-range", f"{place} = {shown(value)} is out of range: accepted is {accepts}", f"write {bound}")


def true_or_false() -> Reader[bool]:
    """`true` or `false`."""
    accepts = "true or false"

    def parse(value: object, place: Place, accepts: str) -> bool | Faulty:
        if isinstance(value, bool):
            return value
        return wrong_type(value, accepts, place, "true", quotes=value in ("true", "false"))

    return Reader(accepts, "true", parse, shown)


def whole_number(at_least: int, at_most: int, example: int) -> Reader[int]:
    """A whole number within its bounds, both included."""
    accepts = f"a whole number from {at_least} to {at_most}"

    def parse(value: object, place: Place, accepts: str) -> int | Faulty:
        if isinstance(value, bool) or not isinstance(value, int):
            return wrong_type(value, accepts, place, str(example), quotes=is_quoted_number(value))
        if at_least <= value <= at_most:
            return value
        return out_of_range(value, accepts, place, _bound(value < at_least, at_least, at_most))

    return Reader(accepts, str(example), parse, shown)


def _bound(is_below: bool, at_least: object, at_most: object) -> str:
    return f"{at_least} or more" if is_below else f"{at_most} or less"


def seconds(at_least: float, at_most: float, example: int) -> Reader[float]:
    """A number of seconds within its bounds, both included; whole or decimal."""
    accepts = f"a number of seconds from {at_least:g} to {at_most:g}"

    def parse(value: object, place: Place, accepts: str) -> float | Faulty:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return wrong_type(value, accepts, place, str(example), quotes=is_quoted_number(value))
        if not (isinstance(value, int) or isfinite(value)) or not at_least <= value <= at_most:
            return out_of_range(value, accepts, place, _bound(value < at_least, f"{at_least:g}", f"{at_most:g}"))
        return float(value)

    return Reader(accepts, str(example), parse, _format_seconds)


def _format_seconds(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def one_of(literal: Any) -> Reader[Any]:
    """One of the words of a `Literal[…]` type."""
    choices: tuple[str, ...] = get_args(literal)
    accepts = _alternatives([quoted(choice) for choice in choices])

    def parse(value: object, place: Place, accepts: str) -> str | Faulty:
        if not isinstance(value, str):
            return wrong_type(value, accepts, place, quoted(choices[0]))
        if value in choices:
            return value
        close = get_close_matches(value.strip().lower()[:100], choices, n=1)
        hint = f"did you mean {quoted(close[0])}?" if close else place.for_example(quoted(choices[0]))
        return place.report("not-a-choice", f"{place} = {shown(value)} is unknown: accepted is {accepts}", hint)

    return Reader(accepts, quoted(choices[0]), parse, quoted)


def _alternatives(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def text(longest: int, example: str) -> Reader[str]:
    """One line of text of at most `longest` UTF-8 bytes, without control characters."""
    accepts = f"a string of at most {longest} bytes, without control characters"

    def parse(value: object, place: Place, accepts: str) -> str | Faulty:
        if not isinstance(value, str):
            return wrong_type(value, accepts, place, quoted(example))
        if has_controls(value):
            return control_character(value, place)
        size_bytes = len(value.encode())
        if size_bytes > longest:
            message = f"{place} is {size_bytes} bytes long: accepted are at most {longest}"
            return place.report("too-long", message, "shorten it")
        return value

    return Reader(accepts, quoted(example), parse, lambda value: quoted(value, LONGEST_STRING))


def has_controls(value: str) -> bool:
    """Whether the text has characters that would end a line or a C string, or move a terminal's cursor."""
    return any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029" for char in value)


def control_character(value: str, place: Place) -> Faulty:
    """Reports a text that has_controls."""
    message = f"{place} = {shown(value)} holds a control character or a line break: accepted is one line of plain text"
    return place.report("control-character", message, "remove the control character")


def byte_size(at_least: int, at_most: int = 64 * TIB, example: str = "8GiB") -> Reader[int]:
    """A size with its unit ("8GiB"), within its bounds, both included."""
    smallest, largest = format_byte_size(at_least), format_byte_size(at_most)
    accepts = f"a size with its unit, from {quoted(smallest)} to {quoted(largest)}"

    def parse(value: object, place: Place, accepts: str) -> int | Faulty:
        if isinstance(value, int) and not isinstance(value, bool):
            message = f"{place} = {shown(value)} has no unit: accepted is {accepts}"
            return place.report("bad-size", message, place.for_example(quoted(example)))
        if not isinstance(value, str):
            return wrong_type(value, accepts, place, quoted(example))
        try:
            size_bytes = parse_byte_size(value)
        except ValueError:
            message = f"{place} = {shown(value)} is not a size: accepted is {accepts}"
            return place.report("bad-size", message, "write a whole number and one of B, KiB, MiB, GiB, TiB")
        if at_least <= size_bytes <= at_most:
            return size_bytes
        bound = _bound(size_bytes < at_least, quoted(smallest), quoted(largest))
        return out_of_range(value, accepts, place, bound)

    return Reader(accepts, quoted(example), parse, lambda value: quoted(format_byte_size(value)))


def one_size_of(*sizes_bytes: int) -> Reader[int]:
    """One of a few sizes."""
    accepts = _alternatives([quoted(format_byte_size(size)) for size in sizes_bytes])
    example = quoted(format_byte_size(sizes_bytes[0]))

    def parse(value: object, place: Place, accepts: str) -> int | Faulty:
        if not isinstance(value, str):
            return wrong_type(value, accepts, place, example)
        for size_bytes in sizes_bytes:
            if value == format_byte_size(size_bytes):
                return size_bytes
        message = f"{place} = {shown(value)} is unknown: accepted is {accepts}"
        return place.report("not-a-choice", message, place.for_example(example))

    return Reader(accepts, example, parse, lambda value: quoted(format_byte_size(value)))


def word_or(word: str, inner: Reader[T]) -> Reader[T | None]:
    """A word that stands for None (the same as an absent key), or what `inner` reads."""

    def parse(value: object, place: Place, accepts: str) -> T | Faulty | None:
        return None if value == word else inner.parse(value, place, accepts)

    def format_value(value: Any) -> str:
        return quoted(word) if value is None else inner.format(value)

    return Reader(f"{quoted(word)} or {inner.accepts}", inner.example, parse, format_value, inner.table)


def words_or(choices: tuple[str, ...], inner: Reader[T]) -> Reader[T | str]:
    """One of these words as it stands, or what `inner` reads."""

    def parse(value: object, place: Place, accepts: str) -> T | str | Faulty:
        return value if isinstance(value, str) and value in choices else inner.parse(value, place, accepts)

    def format_value(value: Any) -> str:
        return quoted(value) if isinstance(value, str) else inner.format(value)

    words = ", ".join(map(quoted, choices))
    return Reader(f"{words} or {inner.accepts}", inner.example, parse, format_value, inner.table)


def one_or_each(item: Reader[T], what: str, at_most: int, example: str) -> Reader[tuple[T, ...]]:
    """One value for all, or a list with one for each. A list of one is the same as its value."""
    each = list_of(item, what, at_most, example)

    def parse(value: object, place: Place, accepts: str) -> tuple[T, ...] | Faulty:
        if isinstance(value, list):
            return each.parse(value, place, accepts)
        one = item.parse(value, place, accepts)
        return one if isinstance(one, Faulty) else (one,)

    def format_value(values: Any) -> str:
        return item.format(values[0]) if len(values) == 1 else each.format(values)

    return Reader(f"{item.accepts}, or {each.accepts}", item.example, parse, format_value)


def list_of(item: Reader[T], what: str, at_most: int, example: str) -> Reader[tuple[T, ...]]:
    """A list of 1 to `at_most` values of one kind. Faulty entries are reported one by one."""

    def parse(value: object, place: Place, accepts: str) -> tuple[T, ...] | Faulty:
        if not isinstance(value, list):
            return wrong_type(value, accepts, place, example)
        if not 1 <= len(value) <= at_most:
            return list_length(len(value), accepts, at_most, place)
        items = [item.read(entry, place.at(index)) for index, entry in enumerate(value)]
        sound = tuple(entry for entry in items if not isinstance(entry, Faulty))
        return sound if len(sound) == len(items) else Faulty.FAULTY

    return Reader(f"a list of {what}", example, parse, lambda values: f"[{', '.join(item.format(value) for value in values)}]")


def list_length(length: int, accepts: str, at_most: int, place: Place) -> Faulty:
    """Reports a list with too few or too many entries."""
    message = f"{place} has {length} entries: accepted is {accepts}, 1 to {at_most} of them"
    return place.report("list-length", message, "remove the key" if length == 0 else "remove entries")
