"""From bytes to a TOML document, and from its faults to problems with their places in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomli

from qsup.errors import InvalidInput, Problem
from qsup.spec.faults import Fault, path_text
from qsup.spec.locate import Locations, locations_of

MAXIMUM_FILE_BYTES = 1 << 20
MOST_PROBLEMS = 200

_BOM = b"\xef\xbb\xbf"


def decode(raw: bytes, *, file: str) -> str:
    """The text of a file; a UTF-8 byte order mark is dropped.

    Raises:
        InvalidInput: spec.file-too-large, spec.not-utf8.
    """
    if len(raw) > MAXIMUM_FILE_BYTES:
        message = f"the file has more than {MAXIMUM_FILE_BYTES} bytes: accepted are at most so many"
        raise InvalidInput((Problem("spec.file-too-large", message, "check that this is the right file", file),))
    text = raw.removeprefix(_BOM)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start].decode()
        raise InvalidInput((_not_utf8(text[error.start], before, file),)) from None


def _not_utf8(byte: int, before: str, file: str) -> Problem:
    line, column = _line_and_column(before, len(before))
    message = f"the byte 0x{byte:02x} is not UTF-8: accepted is text in UTF-8"
    return Problem("spec.not-utf8", message, "save the file in UTF-8", file, line, column)


def load_document(text: str, *, file: str) -> dict[str, Any]:
    """The TOML document of a text.

    Raises:
        InvalidInput: spec.syntax.
    """
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        message = f"this is not TOML: {error.msg[:1].lower()}{error.msg[1:]}"
        problem = Problem("spec.syntax", message, _syntax_hint(error.msg), file, *_place_of(error, text))
    except RecursionError:
        message = "the document is nested too deeply: accepted are sections with keys"
        problem = Problem("spec.syntax", message, "remove the nesting", file)
    except ValueError:
        # int() refuses more than 4300 digits (Python 3.11, "Integer string conversion length limitation").
        message = "a number has thousands of digits: accepted are numbers of 64 bits"
        problem = Problem("spec.syntax", message, "shorten the number", file)
    raise InvalidInput((problem,))


def _place_of(error: tomli.TOMLDecodeError, text: str) -> tuple[int, int]:
    """Line and column; tomli 2.5 steps beyond the end of the text for a backslash that ends it."""
    line = text.replace("\r\n", "\n").split("\n")[error.lineno - 1]
    return error.lineno, min(error.colno, len(line) + 1)


def _syntax_hint(message: str) -> str | None:
    if message.startswith("Invalid value"):
        return "put text into quotes"
    if "overwrite" in message or "twice" in message or "mutate" in message:
        return "write each key and each [section] once"
    return None


def problems_of(faults: Sequence[Fault], text: str, *, file: str) -> tuple[Problem, ...]:
    """The faults as problems with line and column, in file order.

    Beyond MOST_PROBLEMS the last one only counts the rest (spec.too-many-problems): such a file is not a config file.
    """
    locations = locations_of(text)
    placed = sorted(((_offset_of(fault, locations), fault) for fault in faults), key=lambda pair: pair[0])
    problems = [_problem_of(fault, offset, text, file) for offset, fault in placed[:MOST_PROBLEMS]]
    rest = len(placed) - len(problems)
    if rest:
        message = f"{rest} more problems are not shown: at most {MOST_PROBLEMS} are"
        problems.append(Problem("spec.too-many-problems", message, "check that this is the right file", file))
    return tuple(problems)


def _offset_of(fault: Fault, locations: Locations) -> int:
    return locations.of_key(fault.path) if fault.on_key else locations.of_value(fault.path)


def _problem_of(fault: Fault, offset: int, text: str, file: str) -> Problem:
    line, column = _line_and_column(text, offset)
    return Problem(fault.code, fault.message, fault.hint, file, line, column, path_text(fault.path) or None)


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
