"""Request bodies: strict, and all problems at once."""

from __future__ import annotations

import json

import pytest
from attrs import AttrsInstance
from hypothesis import given
from hypothesis import strategies as st

from qsup.api.bodies import HmpBody, QmpBody, StartBody, StopBody, WaitBody, parse_body
from qsup.errors import BadRequest, InvalidInput

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def codes_of(raw: bytes, wanted: type[AttrsInstance]) -> set[tuple[str, str | None]]:
    with pytest.raises(InvalidInput) as caught:
        parse_body(raw, wanted)
    return {(problem.code, problem.key) for problem in caught.value.problems}


def test_an_empty_body_is_the_empty_object() -> None:
    assert parse_body(b"", StartBody) == parse_body(b" {} ", StartBody) == StartBody()


def test_a_whole_body() -> None:
    assert parse_body(b'{"force": true, "wait": false}', StopBody) == StopBody(True, False)
    raw = b'{"command": "device_add", "arguments": {"id": "x"}}'
    assert parse_body(raw, QmpBody) == QmpBody("device_add", {"id": "x"})


@pytest.mark.parametrize("value", ['"true"', "1", "0", "null", "[]", "{}", "1.0"])
def test_nothing_is_coerced_to_a_bool(value: str) -> None:
    assert codes_of(f'{{"wait": {value}}}'.encode(), WaitBody) == {("api.wrong-type", "wait")}


@pytest.mark.parametrize("value", ["[]", '"x"', "null", "[[1, 2]]", "3"])
def test_arguments_must_be_an_object(value: str) -> None:
    raw = f'{{"command": "x", "arguments": {value}}}'.encode()
    assert codes_of(raw, QmpBody) == {("api.wrong-type", "arguments")}


def test_all_problems_at_once() -> None:
    raw = b'{"arguments": [], "argument": {}, "cmd": "x"}'
    expected = {
        ("api.wrong-type", "arguments"),
        ("api.unknown-key", "argument"),
        ("api.unknown-key", "cmd"),
        ("api.missing-key", "command"),
    }
    assert codes_of(raw, QmpBody) == expected


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"nul", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_object(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_body(raw, HmpBody)
    assert caught.value.code == "api.bad-json"


@given(JSON_VALUES)
def test_any_json_gives_a_body_or_an_error(value: object) -> None:
    for wanted in (StartBody, StopBody, WaitBody, QmpBody, HmpBody):
        try:
            parse_body(json.dumps(value).encode(), wanted)
        except (BadRequest, InvalidInput):
            continue
