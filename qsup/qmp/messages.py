"""The QMP messages, parsed and composed.

Strategy: a line becomes exactly one of four types or raises `qmp.malformed`; nothing else escapes, whatever the bytes are.
Source: QEMU docs/interop/qmp-spec; `qemu.qmp` for the shapes of greeting and error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from reprlib import Repr

from attrs import frozen
from qemu.qmp.error import ProtocolError
from qemu.qmp.message import Message
from qemu.qmp.models import ErrorResponse, Greeting

from qsup.errors import QmpLost, QmpRefused

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120
# parsing costs by values, not by bytes: 16 MiB of "[]," are 5.6 million lists. query-qmp-schema of QEMU 7.2 counts 16,000
_VALUES_LIMIT = 250_000
# 2**53 seconds: beyond it a float has no microseconds left, and no clock is that late
_LATEST_S = 2**53


@frozen
class QmpGreeting:
    """What QEMU says first: its version as (major, minor, micro), its packager's text, its capabilities such as "oob"."""

    version: tuple[int, int, int]
    package: str
    capabilities: frozenset[str]


@frozen
class QmpEvent:
    """An event as sent; `timestamp_s` is QEMU's wall clock (seconds since 1970), None when it did not know."""

    name: str
    data: Mapping[str, object]
    timestamp_s: float | None


@frozen
class Answer:
    """A successful reply to the command `number`."""

    number: int
    value: object


@frozen
class Refusal:
    """An error reply to the command `number`."""

    number: int
    error_class: str
    description: str


Incoming = QmpGreeting | QmpEvent | Answer | Refusal


def short_repr_of(value: object) -> str:
    """A repr of bounded length and depth, for messages about hostile values."""
    return _SHORT.repr(value[:120] if isinstance(value, bytes) else value)


def malformed(what: str, value: object) -> QmpLost:
    """The error for input that is no QMP; `what` is a clause, such as "a reply without an id"."""
    return QmpLost("qmp.malformed", None, f"QEMU sent {what}: {short_repr_of(value)}", outcome_known=False)


def incoming_of(line: bytes) -> Incoming:
    """Parse one line.

    Raises:
        QmpLost: `qmp.malformed` when it is no JSON object, or no message that QMP knows; `qmp.oversized` when it holds more
            values than could be parsed without holding up every other task.
    """
    if len(line) > _VALUES_LIMIT and _values_at_most(line) > _VALUES_LIMIT:
        count = _values_at_most(line)
        text = f"QEMU sent a line of up to {count} JSON values, {_VALUES_LIMIT} are accepted"
        raise QmpLost("qmp.oversized", None, text, outcome_known=False)
    try:
        message = Message(line)
    except (ProtocolError, ValueError, RecursionError):
        # ValueError: bytes that are no UTF-8, or an integer of more digits than Python takes.
        # `from None`: a ProtocolError prints all of the line, which may be MiB long
        raise malformed("a line that is no JSON object", line) from None
    if "event" in message:
        return _event_of(message)
    if "return" in message:
        return Answer(_number_of(message), message["return"])
    if "error" in message:
        return _refusal_of(message)
    if "QMP" in message:
        return _greeting_of(message)
    raise malformed("an object that is no greeting, reply or event", line)


def request_line(number: int, command: str, arguments: Mapping[str, object] | None) -> bytes:
    """Compose a command with its LF.

    Raises:
        QmpRefused: class "qsup.UnsendableArguments". QEMU answers a lone surrogate or a NaN by errors without an id, which
            could not be told from other commands' replies (seen with 7.2): they are refused before they are sent.
    """
    request: dict[str, object] = {"execute": command, "id": number}
    if arguments is not None:
        request["arguments"] = dict(arguments)
    try:
        text = json.dumps(request, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise QmpRefused(command, "qsup.UnsendableArguments", f"the arguments are no JSON: {error}") from error


def _values_at_most(line: bytes) -> int:
    """An upper bound of the number of JSON values in a line: commas and brackets inside strings count as well."""
    return 1 + sum(line.count(mark) for mark in (b",", b"[", b"{"))


def _number_of(message: Message) -> int:
    number = message.get("id")
    if type(number) is not int:  # True is an int, too, and equal to 1
        raise malformed("a reply without a command's id", message.get("error", number))
    return number


def _refusal_of(message: Message) -> Refusal:
    try:
        error = ErrorResponse(message).error
    except (KeyError, TypeError) as problem:
        raise malformed("an error without class or description", message.get("error")) from problem
    return Refusal(_number_of(message), error.class_, error.desc)


def _greeting_of(message: Message) -> QmpGreeting:
    try:
        greeting = Greeting(message).QMP
        numbers = greeting.version["qemu"]
        package = greeting.version.get("package", "")
    except (KeyError, TypeError) as problem:
        raise malformed("a greeting without a version", message["QMP"]) from problem
    if not isinstance(numbers, Mapping) or not isinstance(package, str):
        raise malformed("a greeting without a version", message["QMP"])
    parts = [numbers.get(name) for name in ("major", "minor", "micro")]
    major, minor, micro = (part if type(part) is int else -1 for part in parts)
    if min(major, minor, micro) < 0:
        raise malformed("a greeting without a version", message["QMP"])
    capabilities = frozenset(name for name in greeting.capabilities if isinstance(name, str))
    return QmpGreeting((major, minor, micro), package, capabilities)


def _event_of(message: Message) -> QmpEvent:
    name, data = message["event"], message.get("data", {})
    if not isinstance(name, str) or not isinstance(data, dict):
        raise malformed("an event without a name or with wrong data", name)
    return QmpEvent(name, data, _timestamp_s_of(message.get("timestamp")))


def _timestamp_s_of(value: object) -> float | None:
    """The timestamp in seconds; None when absent, of the wrong shape, or -1 (QEMU's "the host clock failed")."""
    if not isinstance(value, dict):
        return None
    seconds, microseconds = value.get("seconds"), value.get("microseconds")
    if type(seconds) is not int or type(microseconds) is not int:
        return None
    if not (0 <= seconds < _LATEST_S and 0 <= microseconds < 1_000_000):
        return None
    return seconds + microseconds / 1e6
