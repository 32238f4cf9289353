"""Byte sizes: parse and format are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import GIB, KIB, MIB, TIB, format_byte_size, parse_byte_size


@given(st.integers(0, 1 << 49) | st.integers(0, 2000).map(lambda count: count * GIB))
def test_formatted_size_is_parsed_back(size_bytes: int) -> None:
    assert parse_byte_size(format_byte_size(size_bytes)) == size_bytes


@given(st.text(max_size=12) | st.text("0123456789 KMGTiB", max_size=12))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        size_bytes = parse_byte_size(text)
    except ValueError as error:
        refusal = str(error)
    else:
        assert size_bytes >= 0
        return
    assert repr(text) in refusal


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0B", 0), ("1KiB", KIB), ("1536MiB", 1536 * MIB), (" 8 GiB ", 8 * GIB), ("2TiB", 2 * TIB), ("007B", 7)],
)
def test_size_means(text: str, size_bytes: int) -> None:
    assert parse_byte_size(text) == size_bytes


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0B"), (1, "1B"), (1024, "1KiB"), (1536 * MIB, "1536MiB"), (1 << 50, "1024TiB"), (GIB + 1, "1073741825B")],
)
def test_size_is_written_with_the_largest_unit_that_divides_it(size_bytes: int, text: str) -> None:
    assert format_byte_size(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8", "is not a size"),
        ("GiB", "is not a size"),
        ("1.5GiB", "is not a size"),
        ("-1GiB", "is not a size"),
        ("8GB", "has the unit 'GB'"),
        ("8gib", "has the unit 'gib'"),
        ("٣GiB", "is not a size"),
        ("9" * 16 + "B", "is not a size"),
    ],
)
def test_wrong_size_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_byte_size(text)


def test_negative_size_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="cannot be negative: -1"):
        format_byte_size(-1)
