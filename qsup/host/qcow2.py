"""Reads the header of a qcow2 image: sizes, and what lies below it. The image is hostile: every read is bounded.

Source: QEMU docs/interop/qcow2.txt; limits as in QEMU block/qcow2.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from attrs import frozen

MAGIC = b"QFI\xfb"
_V2_LENGTH, _V3_LENGTH = 72, 104
_HEADER_LIMIT = 4096
_NAME_LIMIT = 1023
_FORMAT_LIMIT = 15
_EXTENSION_LIMIT = 64
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_SIZE_LIMIT = 1 << 56
_CORRUPT, _DATA_FILE = 1 << 1, 1 << 2
_KNOWN_FEATURES = 0b11111

Reader = Callable[[int, int], bytes]


@frozen
class Qcow2Header:
    """What qsup needs of the header. `backing_name` is as written there; `backing_format` what is declared for it."""

    version: int
    virtual_size_bytes: int
    cluster_bytes: int
    backing_name: str | None = None
    backing_format: str | None = None


def parse_qcow2_header(read: Reader) -> Qcow2Header:
    """Parses a header.

    Args:
        read: gives the bytes of the image from (offset, at most this many); fewer at its end.

    Raises:
        ValueError: what is wrong with it, as the rest of a sentence that begins with the file's name.
    """
    head = read(0, _V3_LENGTH)
    if head[:4] != MAGIC:
        raise ValueError("is not a qcow2 image: its first bytes are not QFI\\xfb")
    if len(head) < _V2_LENGTH:
        raise ValueError(f"ends within its qcow2 header, after {len(head)} bytes")
    version, name_offset, name_length, cluster_bits, size, encryption = struct.unpack_from(">IQIIQI", head, 4)
    if version not in (2, 3):
        raise ValueError(f"is qcow2 of version {version}; versions 2 and 3 are accepted")
    if not 9 <= cluster_bits <= 21:
        raise ValueError(f"has 2^{cluster_bits} bytes a cluster; 2^9 to 2^21 are accepted")
    if encryption:
        raise ValueError("is encrypted, which qsup does not open")
    if not 0 < size <= _SIZE_LIMIT:
        raise ValueError(f"has a virtual size of {size} bytes; 1 byte to 64 PiB are accepted")
    cluster_bytes = 1 << cluster_bits
    length = _header_length(head) if version == 3 else _V2_LENGTH
    if not name_offset:
        return Qcow2Header(version, size, cluster_bytes)
    name = _backing_name(read, name_offset, name_length, cluster_bytes)
    declared = _backing_format(read, length, min(name_offset, cluster_bytes))
    return Qcow2Header(version, size, cluster_bytes, name, declared)


def _header_length(head: bytes) -> int:
    """Checks the fields of version 3; returns the header's length."""
    if len(head) < _V3_LENGTH:
        raise ValueError(f"ends within its qcow2 header, after {len(head)} bytes")
    features, length = struct.unpack_from(">Q", head, 72)[0], struct.unpack_from(">I", head, 100)[0]
    if features & _CORRUPT:
        raise ValueError("is marked corrupt: repair it with `qemu-img check -r all`")
    if features & _DATA_FILE:
        raise ValueError("keeps its data in an external data file, which qsup does not open")
    if features & ~_KNOWN_FEATURES:
        raise ValueError(f"uses unknown incompatible features (mask {features & ~_KNOWN_FEATURES:#x})")
    if not _V3_LENGTH <= length <= _HEADER_LIMIT or length % 8:
        raise ValueError(f"has a header of {length} bytes; {_V3_LENGTH} to {_HEADER_LIMIT} in steps of 8 are accepted")
    return int(length)


def _backing_name(read: Reader, offset: int, length: int, cluster_bytes: int) -> str:
    if not 1 <= length <= _NAME_LIMIT:
        raise ValueError(f"has a backing file name of {length} bytes; 1 to {_NAME_LIMIT} are accepted")
    if offset + length > cluster_bytes:
        raise ValueError(f"has its backing file name at byte {offset}, outside the first cluster")
    raw = read(offset, length)
    if len(raw) < length:
        raise ValueError("ends within its backing file name")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"has a backing file name that is not UTF-8: {raw[:60]!r}") from None
    if not name.isprintable():
        raise ValueError(f"has a backing file name with control characters: {name[:60]!r}")
    return name


def _backing_format(read: Reader, offset: int, end: int) -> str | None:
    """The declared format, from the header extensions between the header and `end`; None where none is declared."""
    for _ in range(_EXTENSION_LIMIT):
        if offset + 8 > end:
            return None
        field = read(offset, 8)
        if len(field) < 8:
            return None
        kind, length = struct.unpack(">II", field)
        if kind == 0:
            return None
        if kind == _EXTENSION_BACKING_FORMAT:
            return _format_name(read(offset + 8, min(length, _FORMAT_LIMIT)), length)
        offset += 8 + -(-length // 8) * 8
    raise ValueError(f"has more than {_EXTENSION_LIMIT} header extensions")


def _format_name(raw: bytes, length: int) -> str:
    if not 1 <= length <= _FORMAT_LIMIT or len(raw) < length or not raw.replace(b"_", b"").isalnum():
        raise ValueError(f"declares a backing file format that is no format name: {raw!r}")
    return raw.decode("ascii")
