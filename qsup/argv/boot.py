"""[boot]: firmware, or a kernel that is loaded directly.

What QEMU reads once (bios, kernel, initrd) comes as /proc/self/fd/N: fd sets do not work there. UEFI's two images stay in
use and are block nodes.

Source: QEMU 7.2, docs/system/i386/pc; `pflash0`, `pflash1` of the pc machines.
"""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.fdsets import UEFI_CODE_SET, UEFI_VARS_SET, add_fd_option, fdset_path
from qsup.argv.option import FdNeed, Option, fd_token
from qsup.argv.syntax import json_text
from qsup.plan.vmplan import BootPlan, VmPlan

UEFI_CODE = "uefi-code"
UEFI_VARS = "uefi-vars"


def options_of_boot(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """Firmware, kernel, and that nothing else is tried."""
    boot = plan.boot
    options = [Option("-boot", "strict=on", "rule: the guest boots from what has a boot index, from nothing else")]
    if boot.bios is not None:
        options.append(Option("-bios", _loaded("bios"), f"[boot] bios = {boot.bios}"))
    options += _uefi_options(boot)
    options += _kernel_options(boot)
    return options


def fds_of_boot(plan: VmPlan) -> list[FdNeed]:
    """The files that `[boot]` names."""
    boot = plan.boot
    blobs = (("bios", boot.bios), ("kernel", boot.kernel), ("initrd", boot.initrd))
    return [*(FdNeed(name, "blob", path) for name, path in blobs if path is not None), *_uefi_fds(boot)]


def _kernel_options(boot: BootPlan) -> list[Option]:
    options: list[Option] = []
    if boot.kernel is not None:
        options.append(Option("-kernel", _loaded("kernel"), f"[boot] kernel = {boot.kernel}"))
    if boot.initrd is not None:
        options.append(Option("-initrd", _loaded("initrd"), f"[boot] initrd = {boot.initrd}"))
    if boot.cmdline is not None:
        options.append(Option("-append", boot.cmdline, "[boot] cmdline", literal=True))
    return options


def _uefi_fds(boot: BootPlan) -> list[FdNeed]:
    needs: list[FdNeed] = []
    if boot.uefi_code is not None:
        needs.append(FdNeed(UEFI_CODE, "image", boot.uefi_code))
    if boot.uefi_vars is not None:
        needs.append(FdNeed(UEFI_VARS, "image", boot.uefi_vars, readonly=False))
    return needs


def _uefi_options(boot: BootPlan) -> list[Option]:
    sets = {UEFI_CODE: (UEFI_CODE_SET, "pflash0"), UEFI_VARS: (UEFI_VARS_SET, "pflash1")}
    options: list[Option] = []
    for need in _uefi_fds(boot):
        set_number, flash = sets[need.name]
        node = json_text(
            {
                "driver": "file",
                "node-name": need.name,
                "filename": fdset_path(set_number),
                "read-only": need.readonly,
                "auto-read-only": False,
            }
        )
        why = f"[boot] uefi = true: {'the firmware' if need.readonly else 'the variables of this VM alone'}"
        options += [
            add_fd_option(need, set_number),
            Option("-blockdev", node, why),
            Option("-machine", f"{flash}={need.name}", why),
        ]
    return options


def _loaded(name: str) -> str:
    return f"/proc/self/fd/{fd_token(name)}"
