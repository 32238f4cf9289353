"""Problems as a person reads them."""

from __future__ import annotations

import pytest

from qsup.errors import Problem
from qsup.spec.faults import path_text, quoted, shown
from qsup.spec.render import render_problem, render_problems


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("spec.unknown-key", "cpu.vcpu is not a key of qsup", "did you mean vcpus?", "web1.toml", 7, 12),
            "web1.toml:7:12: error [spec.unknown-key]: cpu.vcpu is not a key of qsup\n  hint: did you mean vcpus?",
        ),
        (Problem("spec.syntax", "nested", file="web1.toml"), "web1.toml: error [spec.syntax]: nested"),
        (Problem("plan.no-room", "no room"), "error [plan.no-room]: no room"),
    ],
)
def test_problem_reads(problem: Problem, text: str) -> None:
    assert render_problem(problem) == text
    assert render_problems([problem, problem]) == f"{text}\n{text}\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (4, "4"),
        (1 << 200, "a number of 201 bits"),
        (1.5, "1.5"),
        ("a\n\x1b\u202e\U000e0001", '"a\\n\\u001B\\u202E\\U000E0001"'),
        ("x" * 100, '"' + "x" * 60 + '…"'),
        ([1, [2, [3]]], "[1, [2, […]]]"),
        ([1, 2, 3, 4, 5], "[1, 2, 3, 4, …]"),
        ({}, "{}"),
        ([], "[]"),
        ({"a b": {"c": 1}}, '{ "a b" = { c = 1 } }'),
    ],
)
def test_value_is_shown_short_and_in_one_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_path_is_shown_like_toml() -> None:
    assert path_text(("disk", 1, "path")) == "disk[1].path"
    assert path_text(("a b", "c")) == '"a b".c'
    assert path_text(()) == ""


def test_quoted_is_not_cut_at_its_bound() -> None:
    assert quoted("x" * 60) == '"' + "x" * 60 + '"'
