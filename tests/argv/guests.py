"""Guests of 64 KiB: a ROM whose first instructions are the whole guest."""

from __future__ import annotations

from pathlib import Path

_SIZE = 0x10000
_RESET_VECTOR = 0xFFF0

HALT = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt
# mov dx, 0x3f8; mov al, 'A'; again: out dx, al; mov cx, 256; loop $; jmp again
TALK = b"\xba\xf8\x03\xb0\x41\xee\xb9\x00\x01\xe2\xfe\xeb\xf8"
# mov dx, 0x505; mov al, 1; out dx, al; cli; hlt; jmp to the hlt   (pvpanic's port, PVPANIC_PANICKED)
PANIC = b"\xba\x05\x05\xb0\x01\xee" + HALT


def write_rom(path: Path, code: bytes, mode: int = 0o644) -> str:
    """A ROM that runs `code` from its first byte."""
    rom = bytearray(b"\xf4" * _SIZE)
    rom[: len(code)] = code
    rom[_RESET_VECTOR : _RESET_VECTOR + 5] = b"\xea\x00\x00\x00\xf0"  # jmp f000:0000
    path.write_bytes(rom)
    path.chmod(mode)
    return str(path)


def write_kernel(path: Path) -> str:
    """A file with the header of a bzImage, enough for QEMU to load it (Documentation/arch/x86/boot.rst)."""
    kernel = bytearray(0x400 + 4096)
    kernel[0x1F1] = 1  # setup_sects
    kernel[0x1FE:0x200] = b"\x55\xaa"
    kernel[0x202:0x206] = b"HdrS"
    kernel[0x206:0x208] = b"\x0c\x02"  # version
    kernel[0x211] = 1  # loaded high
    kernel[0x22C:0x230] = b"\xff\xff\xff\x7f"  # initrd_addr_max
    path.write_bytes(kernel)
    return str(path)
