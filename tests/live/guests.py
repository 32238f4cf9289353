"""Guests of a few bytes, and the files that ask for them.

Each guest is a 64 KiB ROM in real mode: the reset vector jumps to the ROM's begin. None burns a core while it waits.
Source: QEMU docs/specs/pvpanic.rst; Intel ICH9 datasheet, LPC bridge D31:F0 (PMBASE 0x40, ACPI_CNTL 0x44); 16550 UART.
"""

from __future__ import annotations

from pathlib import Path

from tests.live.harness import ROM_BYTES, Daemon

_PMBASE = 0x0600
_HALT = bytes.fromhex("faf4ebfd")  # cli; hlt; jmp to the hlt
_JUMP_TO_BEGIN = bytes.fromhex("e90d00")  # at 0xfff0


def _out32(port: int, value: int) -> bytes:
    """mov dx, port; mov eax, value; out dx, eax."""
    return b"\xba" + port.to_bytes(2, "little") + b"\x66\xb8" + value.to_bytes(4, "little") + b"\x66\xef"


def _out16(port: int, value: int) -> bytes:
    return b"\xba" + port.to_bytes(2, "little") + b"\xb8" + value.to_bytes(2, "little") + b"\xef"


def _out8(port: int, value: int) -> bytes:
    return b"\xba" + port.to_bytes(2, "little") + b"\xb0" + bytes([value]) + b"\xee"


_LPC = 0x8000F800
_ACPI_ON = (
    _out32(0xCF8, _LPC | 0x40)
    + _out32(0xCFC, _PMBASE | 1)
    + _out32(0xCF8, _LPC | 0x44)
    + _out32(0xCFC, 0x80)
    + _out16(_PMBASE + 2, 0x100)  # PM1_EN: the power button
)
_POWER_OFF = _out16(_PMBASE + 4, 0x2000)  # PM1_CNT: SLP_EN, sleep type 0, which is S5 in QEMU
_PANIC = _out8(0x505, 1)


def _skip_unless(test: bytes, then: bytes) -> bytes:
    """`then` only where the test leaves the zero flag set."""
    return test + b"\x75" + bytes([len(then)]) + then


def _loop(body: bytes) -> bytes:
    """The body for ever."""
    back = -(len(body) + 3)
    return body + b"\xe9" + back.to_bytes(2, "little", signed=True)


_HANDLER_OFFSET = 0x4000
_HANDLER = bytes.fromhex("50b020e62058cf")  # push ax; end of interrupt; pop ax; iret
_TICKS = (
    bytes.fromhex("fa31c08ed08ed8bc0070")  # cli; ss = ds = 0; sp = 0x7000
    + bytes.fromhex("66b91b0000000f3280e4f70f30")  # IA32_APIC_BASE: no local APIC between PIC and processor
    + b"\xc7\x06\x80\x00" + _HANDLER_OFFSET.to_bytes(2, "little")  # the vector of interrupt 0x20
    + b"\xc7\x06\x82\x00\x00\xf0"
    + bytes.fromhex("b011e620b020e621b004e621b001e621b0fee621")  # the PIC: interrupt 0x20 on, the timer's alone
    + bytes.fromhex("b034e643b09ce640b02ee640")  # the PIT: 100 ticks a second
)  # fmt: skip
_SLEEP = bytes.fromhex("fbf4fa")  # sti; hlt; cli


def _listen() -> bytes:
    """One turn, at a tick: the power button powers off; what comes on COM1 is echoed; p panics, o powers off."""
    button = b"\xba" + _PMBASE.to_bytes(2, "little") + b"\xed\x80\xe4\x01\x80\xfc\x01"  # in ax, dx; and ah, 1; cmp ah, 1
    waiting = b"\xba\xfd\x03\xec\x24\x01\x3c\x01"  # LSR: data ready
    answer = b"".join(
        (
            b"\xba\xf8\x03\xec\xee",  # in al, dx; out dx, al
            _skip_unless(b"\x3cp", _PANIC + _HALT),
            _skip_unless(b"\x3co", _POWER_OFF + _HALT),
        )
    )
    again = b"\xe9" + (-(len(waiting) + 2 + len(answer) + 3)).to_bytes(2, "little", signed=True)
    return _SLEEP + _skip_unless(button, _POWER_OFF + _HALT) + _skip_unless(waiting, answer + again)


_READY = b"".join(_out8(0x3F8, byte) for byte in b"ready\n")

LISTENER = (_ACPI_ON + _TICKS + _READY + _loop(_listen())).ljust(_HANDLER_OFFSET, b"\xf4") + _HANDLER
"""Says "ready" on COM1, echoes what it gets, obeys the power button; p and o make it panic and power off. It sleeps else."""

PANICKER = _PANIC + _HALT
"""Panics with its first instructions."""

CHATTERER = bytes.fromhex("baf803b90300") + b"\xbb\xff\xff\xb0x\xee\x4b\x75\xfc\x49\x75\xf4" + _HALT
"""Writes 192 KiB of x to COM1, then halts."""


def rom_of(daemon: Daemon, name: str, program: bytes) -> Path:
    """The program as a firmware file."""
    path = daemon.root / f"{name}.rom"
    path.write_bytes(program.ljust(ROM_BYTES - 16, b"\xf4") + _JUMP_TO_BEGIN.ljust(16, b"\xf4"))
    path.chmod(0o644)
    return path


def vm_text(
    rom: Path,
    *,
    vm: str = "grace_period_s = 0.2",
    machine: str = "",
    cpu: str = "vcpus = 1",
    memory: str = 'size = "32MiB"',
    more: str = "",
) -> str:
    """A VM file with this firmware."""
    return (
        f'[vm]\n{vm}\n[machine]\n{machine}\n[cpu]\n{cpu}\nmodel = "qemu64"\n'
        f'[memory]\n{memory}\n[boot]\nbios = "{rom}"\n{more}\n'
    )
