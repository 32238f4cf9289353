"""Does KVM execute guests here? On some nested hosts /dev/kvm opens, but the kernel emulates each instruction.

A ROM of 64 KiB counts down from 20 million and writes to a port that ends QEMU. A processor is through in milliseconds; a
kernel that emulates needs a microsecond for each instruction, so more than half a minute.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path

from attrs import frozen

ROUNDS = 20_000_000
DEADLINE_S = 4.0
EXIT_PORT = 0xF4
EXIT_VALUE = 0x10
ROM_BYTES = 0x10000
RESET_VECTOR = 0xFFF0

_CODE = (
    b"\xfa"  # cli
    b"\x66\xb9"
    + struct.pack("<I", ROUNDS)  # mov ecx, ROUNDS
    + b"\x66\x49"  # again: dec ecx
    b"\x75\xfc"  # jnz again
    b"\xb0"
    + bytes([EXIT_VALUE])  # mov al, EXIT_VALUE
    + b"\xe6"
    + bytes([EXIT_PORT])  # out EXIT_PORT, al
    + b"\xf4\xeb\xfd"  # hlt, again and again
)
_JUMP_TO_START = b"\xea\x00\x00\x00\xf0"  # jmp f000:0000


@frozen
class Accelerator:
    """The accelerator for the demo's guest, and why it is that one."""

    name: str
    why: str


def accelerator(qemu: str, folder: Path) -> Accelerator:
    """KVM where it really executes guests, else TCG.

    Args:
        folder: takes the ROM.
    """
    if not os.path.exists("/dev/kvm"):
        return Accelerator("tcg", "this machine has no /dev/kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "/dev/kvm may not be opened by this user (the group kvm may)")
    rom = folder / "count-down.rom"
    rom.write_bytes(rom_image())
    return _measured(qemu, rom)


def rom_image() -> bytes:
    """The ROM: its code at F000:0000, a jump to it at the reset vector."""
    image = bytearray(ROM_BYTES)
    image[: len(_CODE)] = _CODE
    image[RESET_VECTOR : RESET_VECTOR + len(_JUMP_TO_START)] = _JUMP_TO_START
    return bytes(image)


def command(qemu: str, accel: str, cpu: str, rom: Path) -> list[str]:
    """The QEMU that runs the ROM and exits with 2 × EXIT_VALUE + 1 (QEMU hw/misc/debugexit.c)."""
    return [
        *(qemu, "-machine", f"pc,accel={accel}", "-cpu", cpu, "-m", "16", "-bios", str(rom)),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"),
    ]


def _measured(qemu: str, rom: Path) -> Accelerator:
    begun_s = time.monotonic()
    words = command(qemu, "kvm", "host", rom)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        rounds = f"{ROUNDS // 1_000_000} million rounds of a loop"
        return Accelerator("tcg", f"/dev/kvm opens, but emulates: {rounds} took more than {DEADLINE_S:g} s under KVM")
    took_ms = (time.monotonic() - begun_s) * 1000
    if done.returncode == 2 * EXIT_VALUE + 1:
        return Accelerator(
            "kvm", f"KVM executes guests here: {ROUNDS // 1_000_000} million rounds of a loop took {took_ms:.0f} ms"
        )
    return Accelerator(
        "tcg", f"/dev/kvm opens, but QEMU cannot use it: {_first_words(done.stderr) or f'status {done.returncode}'}"
    )


def _first_words(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if "warning:" not in line]
    return lines[0].removeprefix("qemu-system-x86_64: ") if lines else ""
