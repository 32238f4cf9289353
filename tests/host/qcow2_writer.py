"""Writes qcow2 headers, good and bad, byte for byte."""

from __future__ import annotations

import struct
from pathlib import Path

from qsup.bytesize import GIB

MAGIC = b"QFI\xfb"
BACKING_FORMAT = 0xE2792ACA


def qcow2_header(
    *,
    version: int = 3,
    size: int = GIB,
    cluster_bits: int = 16,
    encryption: int = 0,
    features: int = 0,
    header_length: int = 104,
    backing: bytes = b"",
    backing_format: bytes | None = None,
    backing_offset: int | None = None,
    extensions: bytes = b"",
) -> bytes:
    """The first bytes of an image; the backing name stands behind the extensions unless its offset is given."""
    if backing_format is not None:
        extensions += extension(BACKING_FORMAT, backing_format)
    extensions += struct.pack(">II", 0, 0)
    fixed = header_length if version == 3 else 72
    at = backing_offset if backing_offset is not None else (fixed + len(extensions) if backing else 0)
    head = MAGIC + struct.pack(">IQIIQI", version, at, len(backing), cluster_bits, size, encryption)
    head += struct.pack(">IQQIIQ", 1, 3 << 16, 1 << 16, 1, 0, 0)
    if version == 3:
        head += struct.pack(">QQQII", features, 0, 0, 4, header_length)
    head = head.ljust(fixed, b"\0") + extensions
    return head + (backing if backing_offset is None else b"")


def extension(kind: int, data: bytes) -> bytes:
    """One header extension, padded to 8 bytes."""
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)


def write_image(path: Path, header: bytes, length: int = 4096) -> str:
    """A file that begins with the header; gives its path as text."""
    path.write_bytes(header.ljust(length, b"\0"))
    return str(path)
