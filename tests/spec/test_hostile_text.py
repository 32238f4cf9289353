"""Whatever a file holds, the answer is a spec or InvalidInput, with places inside of the file."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qsup.errors import InvalidInput, Problem
from qsup.spec.document import decode
from qsup.spec.parse import MAXIMUM_FILE_BYTES, parse_vm
from qsup.spec.render import render_problem
from qsup.spec.settings import parse_settings
from qsup.spec.vmspec import VmSpec
from tests.spec.generated import toml_of, vm_specs

SNIPPETS = st.sampled_from(
    [
        *("[cpu]", "[[disk]]", "[memory]", "[[nic]]", "[boot]", "cpu", "disk", "vcpus", "size", "path", "nodes", "pin"),
        *(" = ", ".", "\n", "\r\n", ",", "[", "]", "{", "}", "#", '"', "'", '"""', "'''", "\\", "\\u0000", "\ufeff"),
        *("4", "-1", "0x7f", "1e999", "nan", "true", "2024-01-01", "07:32:00", '"8GiB"', '"/srv/vm/a.img"', "\x00"),
    ]
)
TOML_LIKE = st.lists(SNIPPETS, max_size=30).map("".join)


def assert_places_are_inside(problems: tuple[Problem, ...], text: str) -> None:
    lines = text.replace("\r\n", "\n").split("\n")
    for problem in problems:
        assert problem.code.startswith("spec.")
        assert problem.file == "vm.toml"
        assert "\n" not in problem.message
        assert all(char.isprintable() for char in render_problem(problem).replace("\n  hint: ", ""))
        if problem.line is not None:
            assert problem.column is not None
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(text.split("\n")[problem.line - 1]) + 1


def answer_is_orderly(text: str) -> None:
    for parse in (lambda: parse_vm(text, file="vm.toml", name="vm"), lambda: parse_settings(text, file="vm.toml")):
        assert_places_are_inside(problems_of(parse), text)


def problems_of(parse: Callable[[], object]) -> tuple[Problem, ...]:
    """What is wrong; nothing when the answer is a spec."""
    try:
        parse()
    except InvalidInput as error:
        return error.problems
    return ()


@given(st.text() | TOML_LIKE)
@settings(max_examples=400)
@example("a = " + "[" * 5000)
@example("a = " + "[" * 390 + "]" * 390)
@example("a = " + "{a = " * 190 + "1" + "}" * 190)
@example("a." * 990 + "a = 1")
@example("a." * 5000 + "a = 1")
@example('"\\')
@example('a = """\\')
@example("[cpu]\nvcpus = " + "1" * 5000)
@example("[cpu]\nvcpus = 0x" + "f" * 5000)
@example("[cpu]\nvcpus = nan\n[vm]\nrestart_delay_s = inf\ngrace_period_s = 1" + "0" * 400)
@example('"a\\u001b[31m\\n\\u202e" = 1')
@example('[memory]\nsize = "' + "9" * 100_000 + 'GiB"')
@example('[cpu]\nemulator = "' + "0-8191," * 20_000 + '"')
@example("[cpu]\r\nvcpus = 0\r\n[memory]\r\nsize = 1")
@example("cpu = 1\n" + "\n" * 1000 + "disk = {}")
def test_any_text_gives_a_spec_or_problems(text: str) -> None:
    answer_is_orderly(text)


@given(st.binary() | TOML_LIKE.map(str.encode) | TOML_LIKE.map(lambda text: text.encode("utf-16")))
@settings(max_examples=300)
def test_any_bytes_give_a_text_or_one_problem(raw: bytes) -> None:
    try:
        text = decode(raw, file="vm.toml")
    except InvalidInput as error:
        (problem,) = error.problems
        assert problem.code == "spec.not-utf8"
        assert problem.line is not None
        assert problem.line <= raw.count(b"\n") + 1
    else:
        assert text.encode() == raw.removeprefix(b"\xef\xbb\xbf")
        answer_is_orderly(text)


@given(vm_specs(), st.data())
@settings(max_examples=150)
def test_damaged_file_gives_a_spec_or_problems(spec: VmSpec, data: st.DataObject) -> None:
    text = toml_of(spec)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    answer_is_orderly(text[:start] + data.draw(TOML_LIKE) + text[end:])


def test_large_file_is_refused_before_it_is_read() -> None:
    assert decode(b"#" * MAXIMUM_FILE_BYTES, file="vm.toml")
    with pytest.raises(InvalidInput) as caught:
        decode(b"#" * (MAXIMUM_FILE_BYTES + 1), file="vm.toml")
    (problem,) = caught.value.problems
    assert (problem.code, problem.message) == (
        "spec.file-too-large",
        "the file has more than 1048576 bytes: accepted are at most so many",
    )


def test_place_of_a_byte_that_is_not_utf8_counts_characters() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode("[vm]\n# grüße ".encode() + b"\xff", file="vm.toml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 9)
