"""[boot]: firmware or a directly loaded kernel."""

from __future__ import annotations

from attrs import frozen


@frozen
class BootSpec:
    """What `[boot]` asks. At most one of `bios` and `uefi`; `initrd` and `cmdline` only with `kernel`.

    `uefi_code` and `uefi_vars` are the firmware's files (None: the distribution's OVMF, found by the host room).
    """

    bios: str | None = None
    uefi: bool = False
    uefi_code: str | None = None
    uefi_vars: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
