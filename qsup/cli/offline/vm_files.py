"""VM files as given on a command line: which they are, and what stands in each."""

from __future__ import annotations

import os
from collections.abc import Sequence

from attrs import frozen

from qsup.errors import InvalidInput, Problem
from qsup.natural import natural
from qsup.spec.document import MAXIMUM_FILE_BYTES, decode
from qsup.spec.parse import name_of_file, parse_vm
from qsup.spec.settings import parse_settings
from qsup.spec.vmspec import VmSpec

_SETTINGS_NAME = "settings.toml"


@frozen
class CheckedFile:
    """One file: its text and its spec as far as they could be had, and every problem of it."""

    path: str
    text: str = ""
    spec: VmSpec | None = None
    problems: tuple[Problem, ...] = ()


def files_in(directory: str) -> list[str]:
    """The VM files of a config directory, ascending by name; hidden ones do not count.

    Raises:
        OSError: it cannot be listed.
    """
    names = [name for name in os.listdir(directory) if name.endswith(".toml") and not name.startswith(".")]
    return [os.path.join(directory, name) for name in sorted(names, key=natural)]


def expanded(paths: Sequence[str]) -> list[str]:
    """Each directory replaced by its files, each file once."""
    files = [file for path in paths for file in (files_in(path) if os.path.isdir(path) else [path])]
    return list(dict.fromkeys(files))


def check_file(path: str) -> CheckedFile:
    """Read one file; `settings.toml` is read as the host settings."""
    text = ""
    try:
        text = read_text(path)
        if os.path.basename(path) == _SETTINGS_NAME:
            parse_settings(text, file=path)
            return CheckedFile(path, text)
        return CheckedFile(path, text, parse_vm(text, file=path, name=name_of_file(path)))
    except InvalidInput as error:
        return CheckedFile(path, text, problems=error.problems)


def read_text(path: str) -> str:
    """The text of a file.

    Raises:
        InvalidInput: cli.file-unreadable, spec.file-too-large, spec.not-utf8.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise InvalidInput((Problem("cli.file-unreadable", message, "check its name and its rights", path),)) from None
    return decode(raw, file=path)
