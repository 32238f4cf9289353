"""The qcow2 header parser: what QEMU writes is understood, what a hostile guest or user writes is a sentence."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import GIB
from qsup.host.qcow2 import Qcow2Header, parse_qcow2_header
from tests.host.qcow2_writer import MAGIC, extension, qcow2_header

READ_LIMIT = 4096


def parse(data: bytes) -> Qcow2Header:
    def read(offset: int, count: int) -> bytes:
        assert 0 <= count <= READ_LIMIT, "a header may not make the parser read much"
        assert 0 <= offset <= 1 << 22
        return data[offset : offset + count]

    return parse_qcow2_header(read)


@pytest.mark.parametrize("version", [2, 3])
def test_an_image_without_a_backing_file(version: int) -> None:
    assert parse(qcow2_header(version=version)) == Qcow2Header(version, GIB, 65536)


@pytest.mark.parametrize("version", [2, 3])
def test_backing_file_and_its_declared_format(version: int) -> None:
    data = qcow2_header(version=version, backing=b"base.qcow2", backing_format=b"qcow2")
    assert parse(data) == Qcow2Header(version, GIB, 65536, "base.qcow2", "qcow2")


def test_other_extensions_are_stepped_over() -> None:
    unknown = extension(0x6803F857, b"feature names") + extension(0x12345678, b"")
    data = qcow2_header(extensions=unknown, backing="/srv/größe.raw".encode(), backing_format=b"raw", header_length=112)
    assert (parse(data).backing_name, parse(data).backing_format) == ("/srv/größe.raw", "raw")


def test_no_declared_format_is_none() -> None:
    assert parse(qcow2_header(backing=b"base")).backing_format is None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not a qcow2 image"),
        (b"\0" * 512, "is not a qcow2 image"),
        (MAGIC, "ends within its qcow2 header"),
        (qcow2_header()[:80], "ends within its qcow2 header"),
        (qcow2_header(version=1), "version 1; versions 2 and 3"),
        (qcow2_header(cluster_bits=8), r"2\^8 bytes a cluster"),
        (qcow2_header(cluster_bits=4_000_000_000), "bytes a cluster"),
        (qcow2_header(encryption=2), "is encrypted"),
        (qcow2_header(size=0), "virtual size of 0 bytes"),
        (qcow2_header(size=1 << 63), "64 PiB are accepted"),
        (qcow2_header(features=0b10), "marked corrupt"),
        (qcow2_header(features=0b100), "external data file"),
        (qcow2_header(features=1 << 40), "unknown incompatible features"),
        (qcow2_header(header_length=96), "header of 96 bytes"),
        (qcow2_header(header_length=108), "in steps of 8"),
        (qcow2_header(backing=b"x" * 1024), "name of 1024 bytes"),
        (qcow2_header(backing=b"x", backing_offset=65536), "outside the first cluster"),
        (qcow2_header(backing=b"x", backing_offset=1 << 62), "outside the first cluster"),
        (qcow2_header(backing=b"x" * 40, backing_offset=2000), "ends within its backing file name"),
        (qcow2_header(backing=b"\xff\xfe"), "not UTF-8"),
        (qcow2_header(backing=b"a\0b"), "control characters"),
        (qcow2_header(backing=b"b", backing_format=b""), "no format name"),
        (qcow2_header(backing=b"b", backing_format=b"q" * 300), "no format name"),
        (qcow2_header(backing=b"b", backing_format=b"../x"), "no format name"),
        (qcow2_header(backing=b"b", extensions=extension(1, b"") * 65), "more than 64 header extensions"),
    ],
)
def test_what_is_wrong_is_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(data)


def test_an_extension_longer_than_the_image_ends_the_search() -> None:
    endless = struct.pack(">II", 7, 0xFFFFFFFF)
    assert parse(qcow2_header(backing=b"base", extensions=endless)).backing_format is None


def parsed_or_none(data: bytes) -> Qcow2Header | None:
    """None where the parser refuses; any exception but ValueError fails the test."""
    try:
        return parse(data)
    except ValueError:
        return None


@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_parsed_or_refused(data: bytes, with_magic: bool) -> None:
    header = parsed_or_none(MAGIC + data if with_magic else data)
    assert header is None or header.virtual_size_bytes > 0


@given(st.data())
def test_flipped_bytes_of_a_good_header_are_parsed_or_refused(data: st.DataObject) -> None:
    good = bytearray(qcow2_header(backing=b"base.qcow2", backing_format=b"qcow2", extensions=extension(5, b"abc")))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    header = parsed_or_none(bytes(good[: data.draw(st.integers(0, len(good)))]))
    assert header is None or header.backing_name is None or header.backing_name.isprintable()
