from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.errors import QmpLost, QmpRefused
from qsup.qmp.messages import Answer, Incoming, QmpEvent, QmpGreeting, Refusal, incoming_of, request_line
from tests.qmp.speaker import GREETING

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
qmp_keys = st.sampled_from(["QMP", "return", "error", "event", "data", "id", "timestamp", "version", "qemu", "class"])
qmp_like = st.dictionaries(qmp_keys, json_values | st.dictionaries(qmp_keys, json_values, max_size=4), max_size=5)


def test_a_greeting_is_a_version_a_package_and_capabilities() -> None:
    expected = QmpGreeting((7, 2, 22), "Debian 1:7.2+dfsg-7+deb12u18+b3", frozenset({"oob"}))
    assert incoming_of(json.dumps(GREETING).encode()) == expected


def test_replies_carry_the_number_of_their_command() -> None:
    assert incoming_of(b'{"return": {"a": 1}, "id": 7}\r') == Answer(7, {"a": 1})
    error = b'{"error": {"class": "GenericError", "desc": "no"}, "id": 8}'
    assert incoming_of(error) == Refusal(8, "GenericError", "no")


def test_an_event_has_its_data_and_its_time_in_seconds() -> None:
    line = b'{"event": "STOP", "data": {"a": 1}, "timestamp": {"seconds": 12, "microseconds": 500000}}'
    assert incoming_of(line) == QmpEvent("STOP", {"a": 1}, 12.5)


@pytest.mark.parametrize(
    "timestamp",
    [
        b'{"seconds": -1, "microseconds": -1}',
        b"3",
        b'{"seconds": "1", "microseconds": 0}',
        b'{"seconds": true, "microseconds": 0}',
        b'{"seconds": 1' + b"0" * 400 + b', "microseconds": 0}',
    ],
)
def test_a_time_that_is_none_costs_the_event_nothing(timestamp: bytes) -> None:
    assert incoming_of(b'{"event": "STOP", "timestamp": ' + timestamp + b"}") == QmpEvent("STOP", {}, None)


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[]",
        b'"text"',
        b"{}",
        b'{"return": {}}',
        b'{"return": {}, "id": "7"}',
        b'{"return": {}, "id": true}',
        b'{"return": {}, "id": [1]}',
        b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}',
        b'{"error": "no", "id": 1}',
        b'{"error": {"class": "GenericError"}, "id": 1}',
        b'{"error": {"class": 1, "desc": "no"}, "id": 1}',
        b'{"event": 1}',
        b'{"event": "STOP", "data": []}',
        b'{"QMP": {}}',
        b'{"QMP": {"version": {}, "capabilities": []}}',
        b'{"QMP": {"version": {"qemu": 7}, "capabilities": []}}',
        b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2}}, "capabilities": []}}',
        b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 1}, "package": 1}, "capabilities": []}}',
        b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 1}}}}',
        b'{"a": "\xff\xfe"}',
        b"\x00\x00\x00{",
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda line: repr(line[:40]),
)
def test_what_is_no_qmp_is_malformed_and_quoted_briefly(line: bytes) -> None:
    with pytest.raises(QmpLost) as caught:
        incoming_of(line)
    assert caught.value.code == "qmp.malformed"
    assert not caught.value.outcome_known
    assert len(caught.value.message) < 600


def test_a_line_of_too_many_values_is_refused_unparsed_and_a_long_text_is_not() -> None:
    with pytest.raises(QmpLost) as caught:
        incoming_of(b'{"id": 1, "return": [' + b"[]," * 300_000 + b"[]]}")
    assert caught.value.code == "qmp.oversized"
    text = "x" * 2**22
    assert incoming_of(b'{"id": 1, "return": "' + text.encode() + b'"}') == Answer(1, text)


@given(st.binary())
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with pytest.raises(QmpLost):
        incoming_of(b"\xff" + raw)


@given(qmp_like)
def test_no_object_raises_anything_else(value: dict[str, object]) -> None:
    try:
        outcome: Incoming | QmpLost = incoming_of(json.dumps(value).encode())
    except QmpLost as lost:
        outcome = lost
    assert isinstance(outcome, QmpGreeting | QmpEvent | Answer | Refusal) or outcome.code == "qmp.malformed"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_request_is_one_line_that_holds_its_arguments(text: str) -> None:
    line = request_line(3, "human-monitor-command", {"command-line": text})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    expected = {"execute": "human-monitor-command", "id": 3, "arguments": {"command-line": text}}
    assert json.loads(line) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", b"bytes", {1, 2}])
def test_arguments_that_are_no_json_are_refused_before_they_are_sent(value: object) -> None:
    with pytest.raises(QmpRefused) as caught:
        request_line(3, "qom-set", {"value": value})
    assert caught.value.error_class == "qsup.UnsendableArguments"
    assert caught.value.command == "qom-set"
