"""Cpulists: parse and format are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.cpuset import HIGHEST_PCPU, format_cpulist, parse_cpulist

SETS = st.frozensets(st.integers(0, HIGHEST_PCPU), max_size=40)


@given(SETS)
def test_formatted_set_is_parsed_back(pcpus: frozenset[int]) -> None:
    assert parse_cpulist(format_cpulist(pcpus)) == pcpus


@given(st.frozensets(st.integers(0, 60)))
def test_format_is_ascending_and_without_a_list_of_three(pcpus: frozenset[int]) -> None:
    parts = [part.split("-") for part in format_cpulist(pcpus).split(",") if part]
    numbers = [int(number) for part in parts for number in part]
    assert numbers == sorted(set(numbers))
    singles = {int(part[0]) for part in parts if len(part) == 1}
    assert not any({number, number + 1, number + 2} <= singles for number in singles)


@given(st.text("0123456789,-: x", max_size=20))
def test_any_text_is_a_set_or_a_value_error(text: str) -> None:
    try:
        pcpus = parse_cpulist(text)
    except ValueError:
        return
    assert all(0 <= pcpu <= HIGHEST_PCPU for pcpu in pcpus)
    assert parse_cpulist(format_cpulist(pcpus)) == pcpus


@pytest.mark.parametrize(
    ("text", "pcpus"),
    [
        ("", set()),
        (" \n", set()),
        ("3", {3}),
        ("0-3,8", {0, 1, 2, 3, 8}),
        (" 0 , 2-3\n", {0, 2, 3}),
        ("0-7:2", {0, 2, 4, 6}),
        ("5,5,4-6", {4, 5, 6}),
        ("8191", {8191}),
    ],
)
def test_list_means(text: str, pcpus: set[int]) -> None:
    assert parse_cpulist(text) == pcpus


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "'a' is not a pCPU number"),
        ("1,,2", "'' is not a pCPU number"),
        ("3-1", "runs backwards"),
        ("0-", "is not a pCPU number"),
        ("-1", "is not a pCPU number"),
        ("1-2-3", "is not a pCPU number"),
        ("0-7:0", "stride below 1"),
        ("8192", "above 8191"),
        ("9" * 5000, "above 8191"),
        ("٣", "is not a pCPU number"),
        ("+1", "is not a pCPU number"),
        ("0 -3", "is not a pCPU number"),
    ],
)
def test_wrong_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_cpulist(text)


def test_two_neighbours_are_written_apart() -> None:
    assert format_cpulist({1, 2, 4, 5, 6}) == "1,2,4-6"
