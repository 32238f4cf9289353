from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.errors import QmpLost
from qsup.qmp.framing import LineSplitter

lines_of_bytes = st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"")), max_size=8)


def chunks_of(raw: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[start:end] for start, end in pairwise(edges)]


def fed(splitter: LineSplitter, chunks: list[bytes]) -> tuple[list[bytes], bool]:
    """The lines, and whether one was too long."""
    lines: list[bytes] = []
    try:
        for chunk in chunks:
            for line in splitter.feed(chunk):
                lines.append(line)  # noqa: PERF402 (extend does not promise to keep what came before the error)
    except QmpLost as lost:
        return lines, lost.code == "qmp.oversized"
    return lines, False


@given(lines_of_bytes, st.binary(max_size=20), st.lists(st.integers(min_value=0), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_lines(lines: list[bytes], rest: bytes, cuts: list[int]) -> None:
    raw = b"".join(line + b"\n" for line in lines) + rest.replace(b"\n", b"")
    assert fed(LineSplitter(1000), chunks_of(raw, cuts)) == (lines, False)


@given(st.binary(max_size=80), st.lists(st.integers(min_value=0), max_size=12), st.integers(0, 12))
def test_a_long_line_is_found_after_the_same_lines_wherever_it_is_cut(raw: bytes, cuts: list[int], limit: int) -> None:
    pieces = raw.split(b"\n")
    first_long = next((index for index, piece in enumerate(pieces) if len(piece) > limit), None)
    lines, oversized = fed(LineSplitter(limit), chunks_of(raw, cuts))
    assert oversized == (first_long is not None)
    assert lines == pieces[: len(pieces) - 1 if first_long is None else first_long]


def test_the_limit_counts_the_line_without_its_end() -> None:
    splitter = LineSplitter(4)
    assert list(splitter.feed(b"abcd\n")) == [b"abcd"]
    with pytest.raises(QmpLost, match="4 bytes are accepted"):
        list(splitter.feed(b"abcde"))
