"""[boot]: firmware or a directly loaded kernel."""

from __future__ import annotations

from attrs import field, frozen

from qsup.spec.faults import Place
from qsup.spec.readers import text, true_or_false
from qsup.spec.schema import AT_START, key
from qsup.spec.words import absolute_path

LONGEST_CMDLINE_BYTES = 2047  # Linux, arch/x86/include/asm/setup.h: COMMAND_LINE_SIZE is 2048 with its NUL


@frozen
class BootSpec:
    """What `[boot]` asks. At most one of `bios` and `uefi`; `initrd` and `cmdline` only with `kernel`.

    `uefi_code` and `uefi_vars` are the firmware's files (None: the distribution's OVMF, found by the host room).
    """

    bios: str | None = field(
        default=None,
        metadata=key(
            absolute_path("/usr/share/seabios/bios-256k.bin"),
            doc="A firmware image in place of QEMU's SeaBIOS.",
            absent="SeaBIOS",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    uefi: bool = field(
        default=False,
        metadata=key(true_or_false(), doc="Boot by UEFI (OVMF).", effect="cold-restart", reason=AT_START),
    )
    uefi_code: str | None = field(
        default=None,
        metadata=key(
            absolute_path("/usr/share/OVMF/OVMF_CODE_4M.fd"),
            doc="The UEFI firmware's code; only with `uefi = true`.",
            absent="the distribution's OVMF",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    uefi_vars: str | None = field(
        default=None,
        metadata=key(
            absolute_path("/usr/share/OVMF/OVMF_VARS_4M.fd"),
            doc="The template of the UEFI variables, of which the VM gets a copy of its own; only with `uefi = true`.",
            absent="the distribution's OVMF",
            effect="cold-restart",
            reason="the VM's own copy is made once, before its first start",
        ),
    )
    kernel: str | None = field(
        default=None,
        metadata=key(
            absolute_path("/boot/vmlinuz"),
            doc="A Linux kernel, loaded by QEMU without a boot loader.",
            absent="boots from its disks",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    initrd: str | None = field(
        default=None,
        metadata=key(
            absolute_path("/boot/initrd.img"),
            doc="The initial RAM disk; only with `kernel`.",
            absent="none",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    cmdline: str | None = field(
        default=None,
        metadata=key(
            text(LONGEST_CMDLINE_BYTES, "console=ttyS0 root=/dev/vda1"),
            doc="The kernel's command line; only with `kernel`.",
            absent="empty",
            effect="cold-restart",
            reason=AT_START,
        ),
    )


def one_firmware(boot: BootSpec, place: Place) -> None:
    """A VM has one firmware."""
    if boot.bios is not None and boot.uefi:
        message = "boot.bios is written beside boot.uefi = true: accepted is one of them"
        place.at("bios").report("two-firmwares", message, "remove bios, or set uefi = false", on_key=True)


def uefi_files_need_uefi(boot: BootSpec, place: Place) -> None:
    """The UEFI files say nothing without `uefi = true`."""
    if boot.uefi:
        return
    for name, path in (("uefi_code", boot.uefi_code), ("uefi_vars", boot.uefi_vars)):
        if path is not None:
            message = f"boot.{name} is written, but boot.uefi is false: accepted with it is uefi = true"
            place.at(name).report("uefi-files-without-uefi", message, f"set uefi = true, or remove {name}", on_key=True)


def _needs_kernel(boot: BootSpec, place: Place, name: str, value: str | None) -> None:
    if value is not None and boot.kernel is None:
        message = f"boot.{name} is written without boot.kernel: accepted with it is the path of a kernel"
        place.at(name).report("without-kernel", message, f'add kernel = "/…", or remove {name}', on_key=True)


def initrd_needs_kernel(boot: BootSpec, place: Place) -> None:
    """An initrd belongs to a directly loaded kernel."""
    _needs_kernel(boot, place, "initrd", boot.initrd)


def cmdline_needs_kernel(boot: BootSpec, place: Place) -> None:
    """A command line belongs to a directly loaded kernel."""
    _needs_kernel(boot, place, "cmdline", boot.cmdline)


RULES = (one_firmware, uefi_files_need_uefi, initrd_needs_kernel, cmdline_needs_kernel)
