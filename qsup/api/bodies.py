"""Request bodies: one frozen class each, validated strictly (no coercion, no unknown key), every problem at once.

Source: cattrs is lax by default ("4" becomes 4, "false" becomes True, an object passes for a list), so each basic type
gets a hook that only checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import cattrs
from attrs import AttrsInstance, field, fields, frozen
from cattrs.errors import AttributeValidationNote, ClassValidationError, ForbiddenExtraKeysError

from qsup.errors import BadRequest, InvalidInput, Problem

JsonObject = Mapping[str, object]


@frozen
class StartBody:
    """POST …/start: `paused` leaves the guest before its first instruction."""

    paused: bool = False
    wait: bool = True


@frozen
class StopBody:
    """POST …/stop and …/restart: `force` does not ask the guest."""

    force: bool = False
    wait: bool = True


@frozen
class WaitBody:
    """POST …/reset, …/pause, …/resume."""

    wait: bool = True


@frozen
class NoBody:
    """POST …/repair-memory: nothing to say."""


@frozen
class QmpBody:
    """POST …/qmp."""

    command: str
    arguments: JsonObject = field(factory=dict)


@frozen
class HmpBody:
    """POST …/hmp: one line for the human monitor."""

    text: str


Body = TypeVar("Body", bound=AttrsInstance)


class _WrongType(Exception):
    """A value of another JSON type than its key wants; the text says what would be accepted."""


def _check_bool(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _WrongType("true or false")


def _check_text(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    raise _WrongType("a text")


def _check_object(value: object, _: object) -> JsonObject:
    if isinstance(value, dict):
        return value
    raise _WrongType("an object")


def _strict_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(bool, _check_bool)
    converter.register_structure_hook(str, _check_text)
    converter.register_structure_hook_func(lambda wanted: wanted == JsonObject, _check_object)
    return converter


_converter = _strict_converter()


def parse_body(raw: bytes, wanted: type[Body]) -> Body:
    """The body of a request; an empty one is the empty object.

    Raises:
        BadRequest: api.bad-json, it is no JSON object.
        InvalidInput: api.unknown-key, api.missing-key, api.wrong-type; all problems of the body.
    """
    value = _json_of(raw)
    try:
        return _converter.structure(value, wanted)
    except ClassValidationError as error:
        known = [attribute.name for attribute in fields(wanted)]
        raise InvalidInput(tuple(_problems_of(error, known))) from None


def _json_of(raw: bytes) -> dict[str, object]:
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("api.bad-json", "the body is not JSON in UTF-8", "send a JSON object, or no body") from None
    if not isinstance(value, dict):
        raise BadRequest("api.bad-json", "the body is JSON but not an object", "send a JSON object, like {}")
    return value


def _problems_of(error: ClassValidationError, known: Sequence[str]) -> Iterator[Problem]:
    for part in error.exceptions:
        if isinstance(part, ForbiddenExtraKeysError):
            hint = f"known keys: {', '.join(known)}"
            yield from (
                Problem("api.unknown-key", f"the key {key!r} is unknown here", hint, key=key)
                for key in sorted(part.extra_fields)
            )
        elif isinstance(part, _WrongType):
            key = _key_of(part)
            yield Problem("api.wrong-type", f"the key {key!r} must be {part}", key=key)
        elif isinstance(part, KeyError):
            key = str(part.args[0])
            yield Problem("api.missing-key", f"the key {key!r} is missing", key=key)
        else:
            raise part


def _key_of(part: Exception) -> str:
    notes = [note for note in getattr(part, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
    return notes[0].name
