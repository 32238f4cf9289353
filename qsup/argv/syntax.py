"""QEMU's two ways to write an option: `first,key=value,…` and JSON.

Source: QEMU 7.2, docs/system/invocation (qemu-options.hx) and util/keyval.c: within a value, a comma is written twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from qsup.bytesize import GIB, MIB

JsonValue = str | int | bool | None | list[int] | Mapping[str, bool] | list[dict[str, str | list[int]]]


def key_values(first: str | None, *pairs: tuple[str, str | int]) -> str:
    """`first,key=value,…` with every comma inside a value written twice. `first` None: pairs only."""
    parts = [] if first is None else [escaped(first)]
    parts += [f"{key}={escaped(str(value))}" for key, value in pairs]
    return ",".join(parts)


def escaped(text: str) -> str:
    """The text as a value of `key=value,…`."""
    return text.replace(",", ",,")


def json_text(properties: Mapping[str, JsonValue]) -> str:
    """The properties as JSON in their order, without blanks; whole numbers stay numbers, since QEMU is strict there."""
    return json.dumps(properties, separators=(",", ":"), default=dict)


def size_text(size_bytes: int) -> str:
    """The size with the largest of QEMU's suffixes that divides it ("8G", "512M", "4096B")."""
    for suffix, unit in (("G", GIB), ("M", MIB)):
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{suffix}"
    return f"{size_bytes}B"


def on_off(value: bool) -> str:
    """QEMU's word for a truth value."""
    return "on" if value else "off"
